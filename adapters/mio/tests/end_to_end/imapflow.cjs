// A session of imapflow: folders with UTF-8 names, attachments, moves, flags, searches, IDLE. Arguments: IMAPS port, user,
// password, certificate. INBOX holds 1,000 messages.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { ImapFlow } = require("imapflow");

const [port, user, pass, certificate] = process.argv.slice(2);
const open = () =>
    new ImapFlow({
        host: "localhost",
        port: Number(port),
        secure: true,
        auth: { user, pass },
        tls: { ca: [fs.readFileSync(certificate)] },
        logger: false,
    });

const mail = (subject) =>
    `From: Ann <ann@example.test>\r\nTo: bob@example.test\r\nSubject: ${subject}\r\n` +
    "Date: Thu, 1 Feb 2024 03:04:05 +0100\r\n\r\nText\r\n";

async function folders(client) {
    const path = ["Grün", "日本"].join(client.namespace.delimiter);
    assert.equal((await client.mailboxCreate(path)).created, true);
    await client.mailboxSubscribe(path);
    const listed = (await client.list({ statusQuery: { messages: true, unseen: true } })).find((box) => box.path === path);
    assert.equal(listed.subscribed, true);
    assert.equal(listed.status.messages, 0);
    const { newPath } = await client.mailboxRename(path, `${path} 2`);
    assert.deepEqual(await client.status(newPath, { messages: true }), { path: newPath, messages: 0 });
    return newPath;
}

async function reading(client) {
    const lock = await client.getMailboxLock("INBOX");
    try {
        assert.equal(client.mailbox.exists, 1000);
        const uids = [];
        for await (const message of client.fetch("1:*", { uid: true, flags: true, envelope: true, bodyStructure: true })) {
            uids.push(message.uid);
            assert.equal(message.envelope.subject, `number ${message.uid}`);
            assert.equal(message.bodyStructure.childNodes.length, 2);
        }
        assert.equal(uids.length, 1000);
        const { meta, content } = await client.download("7", "2", { uid: true });
        assert.equal(meta.filename, "o");
        const octets = [];
        for await (const chunk of content) octets.push(chunk);
        assert.deepEqual([...Buffer.concat(octets)], [0, 1, 0xff]);
        assert.deepEqual(await client.search({ subject: "number 100" }, { uid: true }), [100, 1000]);
        assert.deepEqual(await client.search({ body: "Grüße 77", uid: "70:80" }, { uid: true }), [77]);
        assert.equal(await client.messageFlagsAdd("1:10", ["\\Seen", "$Label"], { uid: true }), true);
        assert.deepEqual(await client.search({ keyword: "$Label" }, { uid: true }), uids.slice(0, 10));
        assert.equal(await client.messageFlagsRemove("1:5", ["\\Seen"], { uid: true }), true);
        const one = await client.fetchOne("8", { uid: true, flags: true, source: true, size: true }, { uid: true });
        assert.deepEqual([...one.flags].sort(), ["$Label", "\\Seen"]);
        assert.equal(one.source.length, one.size);
    } finally {
        lock.release();
    }
}

async function moving(client, path) {
    const lock = await client.getMailboxLock("INBOX");
    try {
        const copied = await client.messageCopy("1:3", path, { uid: true });
        assert.deepEqual([...copied.uidMap], [[1, 1], [2, 2], [3, 3]]);
        const moved = await client.messageMove("4:6", path, { uid: true });
        assert.deepEqual([...moved.uidMap], [[4, 4], [5, 5], [6, 6]]);
        assert.equal(await client.messageDelete("7:10", { uid: true }), true);
        assert.equal(client.mailbox.exists, 993);
    } finally {
        lock.release();
    }
    const appended = await client.append(path, Buffer.from(mail("Grüße")), ["\\Flagged"], new Date("2020-02-03T04:05:06Z"));
    assert.equal(appended.uid, 7);
    const other = await client.getMailboxLock(path);
    try {
        const last = await client.fetchOne("*", { uid: true, flags: true, internalDate: true });
        assert.equal(last.uid, 7);
        assert.ok(last.flags.has("\\Flagged"));
        assert.equal(last.internalDate.getTime(), Date.parse("2020-02-03T04:05:06Z"));
    } finally {
        other.release();
    }
}

async function idling(client, second) {
    const lock = await client.getMailboxLock("INBOX");
    const heard = new Promise((resolve) => client.once("exists", resolve));
    const idle = client.idle();
    await second.append("INBOX", Buffer.from(mail("while you wait")));
    const { count, prevCount } = await heard;
    assert.deepEqual([count, prevCount], [994, 993]);
    lock.release();
    await client.noop();
    await idle;
}

async function main() {
    const [client, second] = [open(), open()];
    await client.connect();
    await second.connect();
    const path = await folders(client);
    await reading(client);
    await moving(client, path);
    await idling(client, second);
    await client.mailboxDelete(path);
    await second.logout();
    await client.logout();
    console.log("all done");
}

main().catch((error) => {
    console.error(error, error.response, error.responseText);
    process.exit(1);
});
