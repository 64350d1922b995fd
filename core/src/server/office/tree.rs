//! The trees of mailboxes of accounts that a session follows (NOTIFY): what is in them, and what has changed since the
//! last look.
//!
//! A tree is looked at when one of our sessions has changed it, and every [`TREE_EVERY`] for what other programs do. Two
//! looks are compared; a rename is one that our own sessions have made, to other programs' it is a mailbox gone and
//! another one new. While a look is on its way, whoever wants another one gets the next.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::answers::{refusal, trouble};
use super::folders::listed;
use super::followers::{Groups, TreeEvent, folder_news};
use super::work::{Done, Outcome};
use super::{Caller, Desk, Office};
use crate::disk::Task;
use crate::imap::server::{Answer, FolderNews, Refusal};
use crate::machine::Instant;
use crate::maildir::context::{Root, StoreError};
use crate::maildir::folder::FolderName;
use crate::maildir::folders::{self, ListedFolder, Presence};
use crate::ticket::Ticket;

/// Between two looks for what other programs do.
const TREE_EVERY: Duration = Duration::from_secs(30);

/// Between two looks for what our sessions do: who makes a thousand mailboxes is not followed one by one.
const TREE_GAP: Duration = Duration::from_millis(200);

/// A NOTIFY SET that waits for the tree.
#[derive(Debug)]
pub(super) struct FollowWanted {
    pub(super) caller: Caller,
    pub(super) ticket: Ticket<Result<Vec<Vec<u8>>, Refusal>>,
    pub(super) root: Root,
    pub(super) groups: Groups,
    pub(super) mailboxes_max: usize,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    /// As of the last look; `None` before the first.
    folders: Option<BTreeMap<FolderName, ListedFolder>>,
    look: Look,
    /// What our sessions have renamed since the look that is known began, in order.
    renamed: Vec<(FolderName, FolderName)>,
    waiting: Vec<FollowWanted>,
    /// When the last look was.
    looked: Option<Instant>,
    /// When to look next.
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Look {
    #[default]
    None,
    Running,
    /// What it finds may be old already: another one follows.
    RunningAndAgain,
}

impl Tree {
    pub(super) fn is_subscribed(&self, folder: &FolderName) -> bool {
        let listed = self.folders.as_ref().and_then(|folders| folders.get(folder));
        listed.is_some_and(|listed| listed.subscribed)
    }

    /// The name that a mailbox had before what our sessions have renamed.
    fn old_name(&self, name: &FolderName) -> Option<FolderName> {
        let mut old = name.clone();
        for (from, to) in self.renamed.iter().rev() {
            if let Some(Ok(before)) = old.renamed(to, from) {
                old = before;
            }
        }
        (old != *name).then_some(old)
    }
}

impl Office {
    /// NOTIFY SET: the tree is looked at first.
    pub(super) fn want_to_follow(&mut self, wanted: FollowWanted, desk: &mut Desk<'_>) {
        let root = wanted.root.clone();
        self.trees.entry(root.clone()).or_default().waiting.push(wanted);
        self.look_at_tree(&root, desk);
    }

    /// One of our sessions has changed the tree, if it is one that is followed.
    pub(super) fn look_at_tree(&mut self, root: &Root, desk: &mut Desk<'_>) {
        let Some(tree) = self.trees.get_mut(root) else { return };
        let earliest = tree.looked.map(|looked| looked.plus(TREE_GAP));
        match tree.look {
            Look::None if tree.waiting.is_empty() && earliest.is_some_and(|at| at > desk.now.instant) => {
                return self.plan_tree(root, earliest.unwrap_or_default());
            }
            Look::None => tree.look = Look::Running,
            Look::Running | Look::RunningAndAgain => {
                tree.look = Look::RunningAndAgain;
                return;
            }
        }
        let (ctx, root) = (self.context.clone(), root.clone());
        let task = Task::new(move |disk| async move {
            let result = folders::list(disk, ctx, root.clone()).await;
            Done::new(Outcome::Listed { root, result })
        });
        self.run(task, desk);
    }

    /// The next look is due at this instant.
    fn plan_tree(&mut self, root: &Root, due: Instant) {
        let Some(tree) = self.trees.get_mut(root) else { return };
        if let Some(before) = tree.due.replace(due) {
            self.trees_due.remove(&(before, root.clone()));
        }
        self.trees_due.insert((due, root.clone()));
    }

    /// One of our sessions has renamed a mailbox, with those below it.
    pub(super) fn note_renamed(&mut self, root: &Root, from: &FolderName, to: &FolderName) {
        if let Some(tree) = self.trees.get_mut(root) {
            tree.renamed.push((from.clone(), to.clone()));
        }
    }

    /// Nobody may follow this account any more.
    pub(super) fn forget_tree(&mut self, root: &Root) {
        let is_followed = self.followers.values().any(|follower| follower.root == *root);
        if !is_followed && self.trees.get(root).is_some_and(|tree| tree.waiting.is_empty()) {
            self.trees.remove(root);
        }
    }

    /// The connection is gone before its NOTIFY was answered.
    pub(super) fn forget_waiting(&mut self, caller: Caller) {
        for tree in self.trees.values_mut() {
            tree.waiting.retain(|wanted| wanted.caller != caller);
        }
    }

    /// The tree was looked at.
    pub(super) fn finish_tree(
        &mut self,
        root: &Root,
        result: Result<Vec<ListedFolder>, StoreError>,
        desk: &mut Desk<'_>,
    ) {
        let Some(tree) = self.trees.get_mut(root) else { return };
        let again = core::mem::take(&mut tree.look) == Look::RunningAndAgain;
        tree.looked = Some(desk.now.instant);
        self.plan_tree(root, desk.now.instant.plus(TREE_EVERY));
        let Some(tree) = self.trees.get_mut(root) else { return };
        match result {
            Ok(listed) => {
                let folders: BTreeMap<FolderName, ListedFolder> =
                    listed.into_iter().map(|folder| (folder.name.clone(), folder)).collect();
                let before = tree.folders.take();
                let news = before.map(|before| differences(&before, &folders, |name| tree.old_name(name)));
                let news = news.unwrap_or_default();
                if !again {
                    tree.renamed.clear();
                }
                let waiting = core::mem::take(&mut tree.waiting);
                self.tell_tree(root, &news, &folders, desk);
                for wanted in waiting {
                    self.start_following(wanted, &folders, desk);
                }
                if let Some(tree) = self.trees.get_mut(root) {
                    tree.folders = Some(folders);
                }
            }
            Err(error) => {
                trouble(&alloc::string::String::from_utf8_lossy(&root.path), &error, desk);
                for wanted in core::mem::take(&mut tree.waiting) {
                    let refused = wanted.ticket.answer(Err(refusal(&error)));
                    desk.imap(wanted.caller, Answer::Followed(refused));
                }
            }
        }
        self.forget_tree(root);
        if again {
            self.look_at_tree(root, desk);
        }
    }

    /// Looks at the trees whose time has come.
    pub(super) fn look_at_trees(&mut self, desk: &mut Desk<'_>) {
        while let Some((due, root)) = self.trees_due.first().cloned()
            && due <= desk.now.instant
        {
            self.trees_due.pop_first();
            let is_due = self.trees.get(&root).is_some_and(|tree| tree.due == Some(due));
            if is_due && self.trees.get(&root).is_some_and(|tree| tree.look == Look::None) {
                self.look_at_tree(&root, desk);
            }
        }
    }
}

/// What is other than before, those that are gone first.
fn differences(
    before: &BTreeMap<FolderName, ListedFolder>,
    after: &BTreeMap<FolderName, ListedFolder>,
    old_name: impl Fn(&FolderName) -> Option<FolderName>,
) -> Vec<(FolderNews, TreeEvent)> {
    let exists = |tree: &BTreeMap<FolderName, ListedFolder>, name: &FolderName| {
        tree.get(name).is_some_and(ListedFolder::exists)
    };
    let subscribed = |tree: &BTreeMap<FolderName, ListedFolder>, name: &FolderName| {
        tree.get(name).is_some_and(|listed| listed.subscribed)
    };
    let renamed = |name: &FolderName| old_name(name).filter(|old| exists(before, old) && !exists(after, old));
    let new = after.keys().filter(|name| exists(after, name) && !exists(before, name));
    let moved: Vec<FolderName> = new.filter_map(renamed).collect();
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let (mut gone, mut others) = (Vec::new(), Vec::new());
    for name in names {
        let (was, is) = (exists(before, name), exists(after, name));
        let (was_subscribed, is_subscribed) = (subscribed(before, name), subscribed(after, name));
        let event = TreeEvent {
            // What has another name now is told under that one.
            name: was != is && !moved.contains(name),
            subscription: was_subscribed != is_subscribed,
            subscribed: was_subscribed || is_subscribed,
        };
        if !event.name && !event.subscription {
            continue;
        }
        let folder = after.get(name).cloned().unwrap_or(ListedFolder {
            name: name.clone(),
            presence: Presence::ParentOnly,
            subscribed: false,
            special_use: None,
        });
        let old = if is && !was { renamed(name) } else { None };
        let told = (folder_news(listed(folder), old.as_ref()), event);
        if is { others.push(told) } else { gone.push(told) }
    }
    gone.extend(others);
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    fn tree(names: &[&str]) -> BTreeMap<FolderName, ListedFolder> {
        let listed = |text: &&str| {
            let (name, words) = text.split_once(':').unwrap_or((text, ""));
            let presence = if words.contains("parent") { Presence::ParentOnly } else { Presence::Exists };
            let name = FolderName::new(name.as_bytes()).unwrap();
            let subscribed = words.contains("subscribed");
            (name.clone(), ListedFolder { name, presence, subscribed, special_use: None })
        };
        names.iter().map(listed).collect()
    }

    fn told(before: &[&str], after: &[&str], renamed: &[(&str, &str)]) -> Vec<String> {
        let name = |text: &str| FolderName::new(text.as_bytes()).unwrap();
        let renamed = renamed.iter().map(|(from, to)| (name(from), name(to))).collect();
        let renames = Tree { renamed, ..Tree::default() };
        let news = differences(&tree(before), &tree(after), |name| renames.old_name(name));
        let show = |(news, event): &(FolderNews, TreeEvent)| {
            let folder = &news.folder;
            format!(
                "{}{}{}{}{}{}",
                String::from_utf8_lossy(&folder.name),
                if folder.non_existent { " gone" } else { "" },
                if folder.subscribed { " subscribed" } else { "" },
                news.old_name
                    .as_ref()
                    .map(|old| format!(" was {}", String::from_utf8_lossy(old)))
                    .unwrap_or_default(),
                if event.name { " name" } else { "" },
                if event.subscription { " subscription" } else { "" },
            )
        };
        news.iter().map(show).collect()
    }

    #[test]
    fn what_is_new_or_gone_is_told_and_parents_are_not() {
        let none: &[&str] = &[];
        assert_eq!(told(&["INBOX", "a"], &["INBOX", "a"], &[]), none);
        assert_eq!(told(&["a"], &["a", "b:parent", "b.c"], &[]), ["b.c name"]);
        assert_eq!(told(&["a", "a.b"], &["a:parent", "a.b"], &[]), ["a gone name"]);
        assert_eq!(told(&["a", "b"], &["b", "c"], &[]), ["a gone name", "c name"]);
    }

    #[test]
    fn subscriptions_are_told_whether_or_not_the_mailbox_is_there() {
        assert_eq!(told(&["a"], &["a:subscribed"], &[]), ["a subscribed subscription"]);
        assert_eq!(told(&["a:subscribed"], &["a"], &[]), ["a subscription"]);
        assert_eq!(told(&["a"], &["a", "x:parent,subscribed"], &[]), ["x gone subscribed subscription"]);
    }

    #[test]
    fn what_was_renamed_is_told_once_with_its_first_name() {
        let renamed = [("a", "b"), ("b", "c")];
        assert_eq!(
            told(&["a", "a.x", "d"], &["c", "c.x", "d"], &renamed),
            ["c was a name", "c.x was a.x name"]
        );
        // The old name has been taken again meanwhile, or it was never seen.
        assert_eq!(told(&["a"], &["a", "b"], &[("a", "b")]), ["b name"]);
        assert_eq!(told(&["d"], &["b", "d"], &[("a", "b")]), ["b name"]);
        // A subscription stays with its name.
        assert_eq!(told(&["a:subscribed"], &["a:parent,subscribed", "b"], &[("a", "b")]), ["b was a name"]);
    }
}
