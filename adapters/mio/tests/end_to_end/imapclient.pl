# Mail::IMAPClient against the server: folders, fetching, flags, moves, search, and new mail by IDLE.
use strict;
use warnings;
use utf8;
use Mail::IMAPClient;

my ($port, $user, $password, $certificate) = @ARGV;

sub login {
    return Mail::IMAPClient->new(
        Server => 'localhost', Port => $port, User => $user, Password => $password, Uid => 1, Peek => 1,
        Ssl => [SSL_ca_file => $certificate, SSL_verify_mode => 1, SSL_verifycn_name => 'localhost'],
    ) // die "login: $@";
}

my ($box, $other) = (login(), login());
sub ok { my ($what, $good) = @_; die "$what: " . ($box->LastError // 'no error') . "\n" unless $good }

my $folder = 'Gr&APw-n.&ZeVnLA-';
ok('capabilities', $box->has_capability('IDLE') && $box->has_capability('MOVE') && $box->has_capability('UIDPLUS'));
ok('create', $box->create($folder));
ok('subscribe', $box->subscribe($folder));
ok('list', scalar grep { $_ eq $folder } $box->folders);
ok('subscribed', scalar grep { $_ eq $folder } $box->subscribed);
ok('separator', $box->separator eq '.');
ok('select', $box->select('INBOX'));
my @all = $box->messages;
ok('messages', @all == 5);
ok('unseen', $box->unseen_count == 5);
ok('subject', $box->subject($all[1]) eq 'number 2');
ok('text', $box->message_string($all[0]) =~ /AAH\//);
ok('part', $box->bodypart_string($all[0], 2) eq 'AAH/');
ok('envelope', $box->get_envelope($all[0])->subject =~ /number 1/);
my @parts = $box->get_bodystructure($all[0])->parts;
ok("structure: @parts", "@parts" =~ /\b1 2$/);
my @found = $box->search('SUBJECT', \'number 3');
ok("search: @found", "@found" eq $all[2]);
ok('see', $box->see($all[0]));
ok('flag', $box->set_flag('Flagged', $all[1]));
ok('flags', scalar grep { $_ eq '\\Flagged' } $box->flags($all[1]));
ok('copy', $box->copy($folder, $all[1]));
ok('move', $box->move($folder, $all[2]));
ok('expunge', $box->expunge);
ok('delete', $box->delete_message($all[3]) && $box->expunge);
ok('left', $box->message_count == 3 && $box->message_count($folder) == 2);

my $idle = $box->idle;
ok('idle', $idle);
$other->append('INBOX', "Subject: while idle\r\n\r\nx\r\n") or die $other->LastError;
my $heard = '';
until ($heard =~ /4 EXISTS/) {
    my $got = $box->idle_data(60);
    ok("idle data after '$heard'", $got && @$got);
    $heard .= join '', @$got;
}
ok('done', $box->done($idle));
ok('new', $box->message_count == 4);
ok('rename', $box->rename($folder, 'Fr&APw-her'));
ok('exists', $box->exists('Fr&APw-her') && !$box->exists($folder));
ok('remove', $box->delete('Fr&APw-her'));
ok('no such', !$box->select('Nowhere'));
$_->logout for $box, $other;
print "all done\n";
