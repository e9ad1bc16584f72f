//! Disks that are not ready, and files that cannot be read.

use super::*;

/// Lets everything happen that happens by itself within a while.
fn pass(world: &mut World) {
    let end = world.now + Duration::from_secs(1);
    while world.now < end {
        world.pass_one(end);
    }
}

#[test]
fn content_that_has_not_come_holds_up_nothing_else() {
    for size in [None, Some(200_000), Some(20_000)] {
        let long = content(usize::try_from(size.unwrap_or(200_000)).unwrap(), 1);
        let (mut manifest, mut source) = files(&[long.clone(), content(100_000, 2)]);
        manifest.entries[0].kind = EntryKind::File { size };
        let come = Arc::new(std::sync::Mutex::new(0));
        source.files.get_mut(&0).unwrap().come = Some(Arc::clone(&come));
        let store = MemoryStore::default();
        let mut world = World::with(manifest, source, &store, SenderOptions::default());
        world.start();
        pass(&mut world);
        assert_eq!(world.verdicts(SENDER), [(1, VerdictCode::Verified)], "{size:?}");
        assert_eq!(world.sender.as_ref().unwrap().next_timeout(), None, "it waits to be woken");
        // One group of it comes.
        *come.lock().unwrap() = GROUP;
        pass(&mut world);
        let expected = if size == Some(20_000) { 100_000 } else { 100_000 + GROUP as u64 };
        assert_eq!(world.progress(RECEIVER), expected, "{size:?}");
        *come.lock().unwrap() = usize::MAX;
        world.run();
        assert_eq!(world.ended(SENDER).unwrap().as_ref().unwrap().verified, 2);
        assert_eq!(store.0.lock().unwrap().committed[&0], long);
    }
}

#[test]
fn content_of_unknown_length_is_not_read_before_it_is_accepted() {
    let (mut manifest, source) = files(&[content(200_000, 1)]);
    manifest.entries[0].kind = EntryKind::File { size: None };
    let read = Arc::clone(&source.read);
    let mut world = World::with(manifest, source, &MemoryStore::default(), SenderOptions::default());
    world.store = None;
    world.start();
    assert_eq!(*read.lock().unwrap(), 0);
    assert!(matches!(world.told[RECEIVER][..], [TransferEvent::Offered { .. }]));
    let receiver = world.receiver.as_mut().unwrap();
    receiver.accept(world.now, &mut world.endpoints[RECEIVER], Box::new(MemoryStore::default()));
    world.run();
    assert_eq!(world.ended(SENDER).unwrap().as_ref().unwrap().verified, 1);
}

#[test]
fn a_store_that_is_not_ready_holds_content_back_and_files_wait_to_be_committed() {
    for length in [20_000, 1_000_000] {
        let contents = [content(length, 1), content(10, 2)];
        let store = MemoryStore::default();
        store.0.lock().unwrap().ready_until = Some(1_000);
        let (manifest, source) = files(&contents);
        let mut world = World::with(manifest, source, &store, SenderOptions::default());
        world.start();
        pass(&mut world);
        assert!(store.0.lock().unwrap().written <= 10 + PIECE as u64);
        // A small file was sent unasked, and the next waits behind it in the same flow.
        let others = if length == 20_000 { vec![] } else { vec![(1, VerdictCode::Verified)] };
        assert_eq!(world.verdicts(RECEIVER), others);
        assert_eq!(world.receiver.as_ref().unwrap().next_timeout(), None, "it waits to be woken");
        store.0.lock().unwrap().ready_until = None;
        world.run();
        assert_eq!(world.ended(SENDER).unwrap().as_ref().unwrap().verified, 2);
        assert!(store.0.lock().unwrap().committed.values().eq(&contents));
    }
}

#[test]
fn a_resumed_file_that_cannot_be_read_any_more_gets_its_verdict() {
    for unasked in [false, true] {
        let (manifest, source) = files(&[content(100_000, 1), content(10, 2)]);
        let source =
            MemorySource { files: source.files.into_iter().filter(|(index, _)| *index == 1).collect(), ..source };
        let store = MemoryStore::default();
        store.0.lock().unwrap().partial.insert(0, content(65_536, 1));
        let options = SenderOptions { unasked, lanes: 1, ..SenderOptions::default() };
        let mut world = World::with(manifest, source, &store, options);
        world.run();
        for node in [SENDER, RECEIVER] {
            let expected = Ok(Summary { verified: 1, failed: 1, refused: 0 });
            assert_eq!(world.ended(node), Some(&expected), "{:?}", world.told[node]);
            assert_eq!(world.verdicts(node), [(0, VerdictCode::Unreadable), (1, VerdictCode::Verified)]);
        }
    }
}

#[test]
fn a_file_that_was_unasked_for_and_then_cannot_be_read_gets_its_verdict() {
    use super::message::OfContent;
    // What came unasked is skipped, as a beginning is there; then it cannot be opened again.
    let (manifest, source) = files(&[content(100_000, 1)]);
    let store = MemoryStore::default();
    store.0.lock().unwrap().partial.insert(0, content(65_536, 1));
    let mut world = World::with(manifest, source, &store, SenderOptions::default());
    world.store = None;
    world.start();
    world.sender.as_mut().unwrap().forget_source();
    let receiver = world.receiver.as_mut().unwrap();
    receiver.accept(world.now, &mut world.endpoints[RECEIVER], Box::new(store));
    world.run();
    assert_eq!(world.verdicts(SENDER), [(0, VerdictCode::Unreadable)]);
    assert_eq!(world.ended(RECEIVER), Some(&Ok(Summary { verified: 0, failed: 1, refused: 0 })));
    let unreadable = OfContent::Unreadable { index: 0, text: "x".into(), unasked: true };
    assert_eq!(OfContent::parse(&unreadable.to_bytes()), Ok(unreadable));
}
