//! Ends that lie.

use alloc::string::String;

use rtmfp_core::{FlowOptions, SendFlowHandle};

use super::message::{FromReceiver, FromSender, Have, Judged, OfContent, Record, Records, Refused};
use super::*;
use crate::manifest::ManifestError;
use crate::tree::{Hash, Tree};

/// A directory, two files, one that is refused, and a pipe.
fn offer() -> Manifest {
    let file = |path, size| entry(path, EntryKind::File { size });
    let entries = vec![
        entry("dir", EntryKind::Directory),
        file("long", Some(100_000)),
        file("short", Some(10)),
        file("refused", Some(10)),
        file("pipe", None),
    ];
    Manifest { entries }
}

/// A sender that says what it likes.
struct Liar {
    world: World,
    control: SendFlowHandle,
    store: MemoryStore,
}

impl Liar {
    fn new() -> Self {
        let (mut world, store) = (World::new(), MemoryStore::default());
        store.0.lock().unwrap().refused.insert(3, StorageFailure::Exists);
        world.store = Some(store.clone());
        world.receiver.as_mut().unwrap().start(world.now, &mut world.endpoints[RECEIVER]);
        let control = Self::open(&mut world, METADATA);
        Self { world, control, store }
    }

    fn open(world: &mut World, metadata: &'static [u8]) -> SendFlowHandle {
        let session = world.sessions[SENDER];
        let options = FlowOptions::new(metadata);
        world.endpoints[SENDER].session_mut(world.now, session).unwrap().open_flow(options).unwrap()
    }

    fn write(&mut self, flow: SendFlowHandle, message: &[u8]) {
        let message = message.to_vec();
        self.world.endpoints[SENDER].send_flow_mut(self.world.now, flow).unwrap().write(message).unwrap();
    }

    fn say(&mut self, message: &FromSender<'_>) {
        self.write(self.control, &message.to_bytes());
    }

    fn offer(&mut self, manifest: &Manifest) {
        let encoding = manifest.encode().unwrap();
        self.say(&FromSender::Offer(manifest.totals()));
        self.say(&FromSender::Entries(&encoding));
        self.say(&FromSender::OfferEnd(hash(&encoding)));
        self.settle();
    }

    /// Lets everything arrive.
    fn settle(&mut self) {
        let end = self.world.now + Duration::from_millis(500);
        self.world.settle();
        while self.world.now < end {
            self.world.pass_one(end);
        }
    }

    fn fault(mut self) -> Fault {
        self.settle();
        self.world.fault(RECEIVER)
    }
}

/// What the receiver says to content messages, in one flow.
fn content_fault(messages: &[Vec<u8>]) -> Fault {
    let mut liar = Liar::new();
    liar.offer(&offer());
    let flow = Liar::open(&mut liar.world, CONTENT_METADATA);
    messages.iter().for_each(|message| liar.write(flow, message));
    let store = liar.store.clone();
    let fault = liar.fault();
    assert!(store.0.lock().unwrap().committed.keys().all(|index| *index == 2));
    fault
}

fn file(index: u64, from: u64) -> Vec<u8> {
    OfContent::File { index, from, unasked: false }.to_bytes()
}

fn whole(index: u64, content: &[u8]) -> Vec<u8> {
    OfContent::Whole { index, content: Some((hash(content), content)), unasked: false }.to_bytes()
}

fn data(tree: &mut Tree, content: &[u8]) -> Vec<u8> {
    let values: Vec<Hash> = content.chunks(GROUP).map(|group| tree.add(group)).collect();
    OfContent::Data { content, values: &values.concat() }.to_bytes()
}

fn end(size: u64, root: Hash) -> Vec<u8> {
    OfContent::End { size, root: Some(root) }.to_bytes()
}

#[test]
fn content_that_lies_ends_the_transfer() {
    let tree = &mut Tree::default();
    let piece = content(PIECE, 1);
    let (first, second) = (data(tree, &piece), data(tree, &piece));
    let group = data(&mut Tree::default(), &piece[..GROUP]);
    let short = data(&mut Tree::default(), &piece[..100]);
    let mut wrong = group.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let hole = |groups| OfContent::Hole { groups }.to_bytes();
    let unasked = OfContent::File { index: 1, from: 0, unasked: true }.to_bytes();
    let unreadable = OfContent::Unreadable { index: 2, text: String::new(), unasked: false }.to_bytes();
    let long = content(100_000, 1);
    for (what, messages, fault) in [
        ("no file", vec![group.clone()], Fault::OutOfPlace),
        ("an end without a file", vec![end(0, hash(&[]))], Fault::OutOfPlace),
        ("a directory", vec![file(0, 0)], Fault::NoSuchFile),
        ("an index beyond", vec![file(5, 0)], Fault::NoSuchFile),
        ("an index far beyond", vec![whole(u64::MAX, b"")], Fault::NoSuchFile),
        ("a refused file", vec![file(3, 0)], Fault::NoSuchFile),
        ("a file in a file", vec![file(1, 0), file(4, 0)], Fault::OutOfPlace),
        ("a file twice", vec![whole(2, &[7; 10]), whole(2, &[7; 10])], Fault::Twice),
        ("a beginning that nobody has", vec![file(1, 16_384)], Fault::NoSuchPrefix),
        ("a wrong group", vec![file(1, 0), wrong], Fault::WrongGroup),
        ("a group at the wrong place", vec![file(1, 0), group.clone(), group.clone()], Fault::WrongGroup),
        ("too much content", vec![file(1, 0), first.clone(), second], Fault::TooMuch),
        ("too long a hole", vec![file(1, 0), hole(7)], Fault::TooMuch),
        ("no hole", vec![file(1, 0), hole(0)], Fault::Malformed),
        ("a hole that takes long", vec![file(4, 0), hole(MAX_HOLE + 1)], Fault::Malformed),
        ("more after a short group", vec![file(1, 0), short.clone(), short], Fault::OutOfPlace),
        ("a size that lies", vec![file(1, 0), group.clone(), end(16_385, hash(&[]))], Fault::TooLittle),
        ("an early end", vec![file(1, 0), group.clone(), end(16_384, hash(&piece[..GROUP]))], Fault::TooLittle),
        ("a small file that is longer", vec![whole(2, &[7; 11])], Fault::TooMuch),
        ("a small file that is shorter", vec![whole(2, &[7; 9])], Fault::TooLittle),
        ("a long file as a small one", vec![whole(1, &long)], Fault::TooMuch),
        ("a pipe as a small file", vec![whole(4, b"")], Fault::TooMuch),
        ("unasked content later", vec![whole(2, &[7; 10]), unasked], Fault::OutOfPlace),
        ("another file that is unreadable", vec![file(1, 0), unreadable], Fault::OutOfPlace),
        ("nothing", vec![vec![]], Fault::Malformed),
        ("an unknown kind", vec![vec![0x7f, 1]], Fault::Malformed),
        ("a message of the other flow", vec![FromSender::Done.to_bytes()], Fault::Malformed),
    ] {
        assert_eq!(content_fault(&messages), fault, "{what}");
    }
}

#[test]
fn a_wrong_hash_is_a_mismatch_and_nothing_is_put_into_its_place() {
    let mut liar = Liar::new();
    liar.offer(&offer());
    let flow = Liar::open(&mut liar.world, CONTENT_METADATA);
    let long = content(100_000, 1);
    let tree = &mut Tree::default();
    let mut messages = vec![file(1, 0)];
    messages.extend(long.chunks(PIECE).map(|piece| data(tree, piece)));
    messages.push(end(100_000, hash(b"something else")));
    messages.push(OfContent::Whole { index: 2, content: Some((hash(b"else"), &[7; 10])), unasked: false }.to_bytes());
    messages.iter().for_each(|message| liar.write(flow, message));
    liar.settle();
    use VerdictCode::*;
    assert_eq!(liar.world.verdicts(RECEIVER), [(1, Mismatch), (2, Mismatch), (3, Exists)]);
    assert!(liar.store.0.lock().unwrap().committed.is_empty());
    liar.say(&FromSender::Done);
    assert_eq!(liar.fault(), Fault::OutOfPlace, "the pipe has no verdict");
}

#[test]
fn flows_are_limited() {
    let mut liar = Liar::new();
    for _ in 0..MAX_LANES {
        let flow = Liar::open(&mut liar.world, CONTENT_METADATA);
        liar.write(flow, &file(1, 0));
    }
    liar.settle();
    assert_eq!(liar.world.told[RECEIVER], [], "content before the offer waits");
    let flow = Liar::open(&mut liar.world, CONTENT_METADATA);
    liar.write(flow, &file(1, 0));
    assert_eq!(liar.fault(), Fault::TooManyFlows);
    let mut liar = Liar::new();
    liar.offer(&offer());
    let flow = Liar::open(&mut liar.world, METADATA);
    liar.write(flow, &FromSender::Offer(Totals::default()).to_bytes());
    assert_eq!(liar.fault(), Fault::TooManyFlows);
    // A flow of something else is for somebody else.
    let mut liar = Liar::new();
    liar.offer(&offer());
    let flow = Liar::open(&mut liar.world, b"other");
    liar.write(flow, b"x");
    liar.settle();
    assert!(liar.world.others[RECEIVER].iter().any(|event| matches!(event, Event::FlowOpened { .. })));
    assert_eq!(liar.world.ended(RECEIVER), None);
}

#[test]
fn flows_that_end_early_end_the_transfer() {
    let mut liar = Liar::new();
    liar.offer(&offer());
    let flow = Liar::open(&mut liar.world, CONTENT_METADATA);
    liar.write(flow, &file(1, 0));
    liar.world.endpoints[SENDER].send_flow_mut(liar.world.now, flow).unwrap().close();
    assert_eq!(liar.fault(), Fault::FlowEnded);
    let mut liar = Liar::new();
    liar.offer(&offer());
    liar.world.endpoints[SENDER].send_flow_mut(liar.world.now, liar.control).unwrap().close();
    assert_eq!(liar.fault(), Fault::FlowEnded);
}

#[test]
fn an_offer_that_lies_is_none() {
    let encoding = offer().encode().unwrap();
    let totals = offer().totals();
    let announced = FromSender::Offer(totals);
    let entries = || FromSender::Entries(&encoding);
    let finish = || FromSender::OfferEnd(hash(&encoding));
    let manifest = Fault::Manifest;
    let cases = [
        ("no offer", vec![entries()], Fault::OutOfPlace),
        ("two", vec![announced.clone(), announced.clone()], Fault::OutOfPlace),
        ("done", vec![announced.clone(), FromSender::Done], Fault::OutOfPlace),
        ("not all of it", vec![announced.clone(), finish()], manifest(ManifestError::NotAsAnnounced)),
        (
            "an entry that is cut",
            vec![announced.clone(), FromSender::Entries(&encoding[..encoding.len() - 1]), finish()],
            manifest(ManifestError::Malformed),
        ),
        (
            "another hash",
            vec![announced.clone(), entries(), FromSender::OfferEnd(hash(b""))],
            manifest(ManifestError::NotAsAnnounced),
        ),
        (
            "fewer bytes",
            vec![FromSender::Offer(Totals { bytes: 1, ..totals }), entries(), finish()],
            manifest(ManifestError::NotAsAnnounced),
        ),
        (
            "more entries",
            vec![FromSender::Offer(Totals { entries: 4, ..totals }), entries(), finish()],
            manifest(ManifestError::TooManyEntries),
        ),
        (
            "too many entries",
            vec![FromSender::Offer(Totals { entries: 1_000_001, ..totals })],
            manifest(ManifestError::TooManyEntries),
        ),
        ("more after its end", vec![announced, entries(), finish(), entries()], Fault::OutOfPlace),
    ];
    for (what, messages, fault) in cases {
        let mut liar = Liar::new();
        messages.iter().for_each(|message| liar.say(message));
        assert_eq!(liar.fault(), fault, "{what}");
    }
    let mut liar = Liar::new();
    liar.write(liar.control, &[0x02]);
    assert_eq!(liar.fault(), Fault::Malformed);
}

/// A sender that has made its offer, and the flow in which a receiver answers as it likes.
fn answering(manifest: Manifest, source: MemorySource, options: SenderOptions) -> (World, SendFlowHandle) {
    let mut world = World::with(manifest, source, &MemoryStore::default(), options);
    world.receiver = None;
    world.start();
    let control = world.others[RECEIVER].iter().find_map(|event| match event {
        Event::FlowOpened { flow } => Some(*flow),
        _ => None,
    });
    let mut flow = world.endpoints[RECEIVER].recv_flow_mut(world.now, control.unwrap()).unwrap();
    let flow = flow.open_return_flow(FlowOptions::new(METADATA)).unwrap();
    (world, flow)
}

/// What a sender makes of a receiver that says what it likes, before and after the files have begun.
fn answers(before: &[Vec<u8>], after: &[Vec<u8>]) -> World {
    let mut source = MemorySource::default();
    for (index, length) in [(1, 100_000), (2, 10), (3, 10), (4, 2_000_000)] {
        source.files.insert(index, File { content: content(length, 1), ..File::default() });
    }
    let options = SenderOptions { unasked: false, ..SenderOptions::default() };
    let (mut world, flow) = answering(offer(), source, options);
    for messages in [before, after] {
        for message in messages {
            let message = message.clone();
            world.endpoints[RECEIVER].send_flow_mut(world.now, flow).unwrap().write(message).unwrap();
        }
        world.settle();
    }
    world
}

fn list(of: impl Fn(Records<'_>) -> Vec<u8>, records: &[impl Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    records.iter().for_each(|record| record.encode(&mut bytes));
    of(Records::new(&bytes))
}

#[test]
fn answers_that_lie_end_the_transfer() {
    let have = |index, bytes| Have { index, bytes, digest: [0; 32] };
    let haves = |records: &[Have]| list(|records| FromReceiver::Have(records).to_bytes(), records);
    let refused = |first, count, code| Refused { first, count, code };
    let refuse = |records: &[Refused]| list(|records| FromReceiver::Refuse(records).to_bytes(), records);
    let judged = |index, code| Judged { index, verdict: Verdict::of(code) };
    let verdicts = |records: &[Judged]| list(|records| FromReceiver::Verdicts(records).to_bytes(), records);
    let (accept, finished) = (FromReceiver::Accept.to_bytes(), FromReceiver::Finished.to_bytes());
    use VerdictCode::{Exists, Verified};
    let cases = [
        ("verdicts before content", vec![verdicts(&[judged(1, Exists)])], Fault::OutOfPlace),
        ("a beginning of a directory", vec![haves(&[have(0, 16_384)])], Fault::NoSuchFile),
        ("a beginning of a pipe", vec![haves(&[have(4, 16_384)])], Fault::NoSuchFile),
        ("a beginning of nothing", vec![haves(&[have(u64::MAX, 16_384)])], Fault::NoSuchFile),
        ("an empty beginning", vec![haves(&[have(1, 0)])], Fault::NoSuchPrefix),
        ("a beginning that ends in a group", vec![haves(&[have(1, 16_385)])], Fault::NoSuchPrefix),
        ("a beginning beyond the end", vec![haves(&[have(1, 114_688)])], Fault::NoSuchPrefix),
        ("a beginning twice", vec![haves(&[have(1, 16_384), have(1, 16_384)])], Fault::Twice),
        ("beginnings in another order", vec![haves(&[have(2, 10)]), haves(&[have(1, 16_384)])], Fault::Twice),
        ("a refusal of nothing", vec![refuse(&[refused(2, 4, Exists)])], Fault::NoSuchFile),
        ("a refusal beyond numbers", vec![refuse(&[refused(2, u64::MAX, Exists)])], Fault::NoSuchFile),
        ("an empty refusal", vec![refuse(&[refused(1, 0, Exists)])], Fault::NoSuchFile),
        ("a refusal twice", vec![refuse(&[refused(1, 2, Exists), refused(2, 1, Exists)])], Fault::Twice),
        ("a refusal that is none", vec![refuse(&[refused(1, 1, Verified)])], Fault::EarlyVerdict),
        ("accepted twice", vec![accept.clone(), accept.clone()], Fault::OutOfPlace),
        ("a beginning too late", vec![accept.clone(), haves(&[have(1, 16_384)])], Fault::OutOfPlace),
        ("an early last word", vec![accept.clone(), finished], Fault::OutOfPlace),
        ("a message of the other end", vec![FromSender::Done.to_bytes()], Fault::Malformed),
        ("nothing", vec![vec![]], Fault::Malformed),
        ("an empty list", vec![vec![0x15]], Fault::Malformed),
        ("half a record", vec![vec![0x11, 1]], Fault::Malformed),
        ("half an hour", vec![vec![0x1f, 99]], Fault::Malformed),
    ];
    for (what, messages, fault) in cases {
        assert_eq!(answers(&messages, &[]).fault(SENDER), fault, "{what}");
    }
    for (what, messages, fault) in [
        ("verified too early", vec![verdicts(&[judged(4, Verified)])], Fault::EarlyVerdict),
        ("a verdict of a directory", vec![verdicts(&[judged(0, Exists)])], Fault::NoSuchFile),
        ("a verdict of nothing", vec![verdicts(&[judged(5, Exists)])], Fault::NoSuchFile),
        ("two verdicts", vec![verdicts(&[judged(1, Verified), judged(1, Verified)])], Fault::Twice),
    ] {
        let world = answers(core::slice::from_ref(&accept), &messages);
        assert_eq!(world.fault(SENDER), fault, "{what}");
    }
}

#[test]
fn late_verdicts_are_of_what_has_no_content_and_once_each() {
    let judged = |index| Judged { index, verdict: Verdict::of(VerdictCode::Storage) };
    let verdicts = |records: &[Judged]| list(|records| FromReceiver::Verdicts(records).to_bytes(), records);
    let refused = [Refused { first: 1, count: 4, code: VerdictCode::Exists }];
    let refuse = list(|records| FromReceiver::Refuse(records).to_bytes(), &refused);
    let before = [refuse, FromReceiver::Accept.to_bytes()];
    for late in [[judged(0), judged(0)], [judged(0), judged(1)]] {
        assert_eq!(answers(&before, &[verdicts(&late)]).fault(SENDER), Fault::Twice);
    }
    let world = answers(&before, &[verdicts(&[judged(0)]), FromReceiver::Finished.to_bytes()]);
    assert_eq!(world.ended(SENDER), Some(&Ok(Summary { verified: 0, failed: 1, refused: 4 })));
}

#[test]
fn files_that_wait_for_a_verdict_are_limited() {
    let (manifest, source) = files(&vec![vec![7]; 2_000]);
    let options = SenderOptions { lanes: 2, ..SenderOptions::default() };
    let (mut world, flow) = answering(manifest, source, options);
    let accept = FromReceiver::Accept.to_bytes();
    world.endpoints[RECEIVER].send_flow_mut(world.now, flow).unwrap().write(accept).unwrap();
    world.settle();
    assert_eq!(world.progress(SENDER), 2 * MAX_UNANSWERED as u64);
}

#[test]
fn a_receiver_whose_verdicts_are_not_read_reads_no_content() {
    let count = 1_500_u64;
    let (mut world, store) = (World::with_buffers(1_024), MemoryStore::default());
    store.0.lock().unwrap().bad = (0..1_500).map(|index| (index, StorageFailure::Exists)).collect();
    world.store = Some(store.clone());
    world.receiver.as_mut().unwrap().start(world.now, &mut world.endpoints[RECEIVER]);
    let control = Liar::open(&mut world, METADATA);
    let mut liar = Liar { world, control, store };
    liar.offer(&files(&vec![vec![7]; 1_500]).0);
    let flow = Liar::open(&mut liar.world, CONTENT_METADATA);
    for index in 0..count {
        liar.write(flow, &whole(index, &[7]));
        liar.world.settle();
    }
    liar.settle();
    let judged = liar.world.verdicts(RECEIVER).len();
    assert!((65..1_400).contains(&judged), "{judged}");
    assert_eq!(liar.world.receiver.as_ref().unwrap().waiting(), 65);
    assert_eq!(liar.world.ended(RECEIVER), None);
}

#[test]
fn a_verdict_before_the_end_spares_the_rest() {
    let judged = [Judged { index: 4, verdict: Verdict { code: VerdictCode::Storage, text: "no".into() } }];
    let verdicts = list(|records| FromReceiver::Verdicts(records).to_bytes(), &judged);
    let world = answers(&[FromReceiver::Accept.to_bytes()], &[verdicts]);
    assert_eq!(world.ended(SENDER), None);
    assert_eq!(world.verdicts(SENDER), [(4, VerdictCode::Storage)]);
    assert!(world.progress(SENDER) < 1_500_000);
}

#[test]
fn a_far_end_that_takes_no_files_says_so() {
    let (manifest, source) = files(&[content(100, 0)]);
    let mut world = World::with(manifest, source, &MemoryStore::default(), SenderOptions::default());
    world.receiver = None;
    world.start();
    let flows: Vec<_> = world.others[RECEIVER]
        .iter()
        .filter_map(|event| if let Event::FlowOpened { flow } = event { Some(*flow) } else { None })
        .collect();
    for flow in flows {
        world.endpoints[RECEIVER].recv_flow_mut(world.now, flow).unwrap().reject(7);
    }
    world.settle();
    assert_eq!(world.ended(SENDER), Some(&Err(Failure::Rejected(7))));
}
