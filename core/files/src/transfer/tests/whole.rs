//! Transfers that come to their end.

use super::*;

fn verified(count: u64) -> Result<Summary, Failure> {
    Ok(Summary { verified: count, ..Summary::default() })
}

#[test]
fn files_of_every_length_arrive() {
    let lengths = [0, 1, 16_384, 32_768, 32_769, 65_535, 65_536, 65_537, 131_072, 400_000];
    let contents: Vec<Vec<u8>> = lengths.iter().map(|length| content(*length, 3)).collect();
    for options in [
        SenderOptions::default(),
        SenderOptions { lanes: 1, unasked: false, ..SenderOptions::default() },
        SenderOptions { lanes: 99, ..SenderOptions::default() },
    ] {
        let store = MemoryStore::default();
        let world = sent(&contents, &store, options);
        for node in [SENDER, RECEIVER] {
            assert_eq!(world.ended(node), Some(&verified(10)), "{options:?}: {:?}", world.told[node]);
            assert_eq!(world.progress(node), lengths.iter().sum::<usize>() as u64);
        }
        let held = store.0.lock().unwrap();
        assert!(held.committed.values().eq(&contents) && held.partial.is_empty() && held.concluded);
        let hashes = world.told[RECEIVER].iter().filter_map(|event| match event {
            TransferEvent::Finished { index, hash, .. } => Some((*index, hash.unwrap())),
            _ => None,
        });
        assert!(hashes.into_iter().all(|(index, root)| root == hash(&contents[index])));
    }
}

#[test]
fn what_has_no_content_counts_when_all_is_there() {
    let mut manifest = Manifest::default();
    manifest.entries.push(entry("dir", EntryKind::Directory));
    manifest.entries.push(entry("dir/link", EntryKind::Symlink { target: "file".into() }));
    manifest.entries.push(entry("dir/file", EntryKind::File { size: None }));
    manifest.entries.push(entry("", EntryKind::Text { size: 5 }));
    let mut source = MemorySource::default();
    source.files.insert(2, File { content: content(100_000, 1), ..File::default() });
    source.files.insert(3, File { content: b"hello".to_vec(), ..File::default() });
    let store = MemoryStore::default();
    store.0.lock().unwrap().late.insert(1);
    let mut world = World::with(manifest, source, &store, SenderOptions::default());
    world.run();
    for node in [SENDER, RECEIVER] {
        let summary = Summary { verified: 2, failed: 1, refused: 0 };
        assert_eq!(world.ended(node), Some(&Ok(summary)), "{:?}", world.told[node]);
        let expected = [(1, VerdictCode::Storage), (2, VerdictCode::Verified), (3, VerdictCode::Verified)];
        assert_eq!(world.verdicts(node), expected);
    }
    assert_eq!(store.0.lock().unwrap().committed[&3], b"hello");
}

#[test]
fn a_file_is_not_verified_and_failed_at_once() {
    let (mut manifest, source) = files(&[content(10, 1), content(10, 2)]);
    manifest.entries.push(entry("dir", EntryKind::Directory));
    let store = MemoryStore::default();
    {
        let mut held = store.0.lock().unwrap();
        held.late = [0, 1, 2, 9].into();
        held.refused.insert(1, StorageFailure::Exists);
    }
    let mut world = World::with(manifest, source, &store, SenderOptions::default());
    world.run();
    for node in [SENDER, RECEIVER] {
        let expected = [(0, VerdictCode::Verified), (1, VerdictCode::Exists), (2, VerdictCode::Storage)];
        assert_eq!(world.verdicts(node), expected);
        assert_eq!(world.ended(node), Some(&Ok(Summary { verified: 1, failed: 1, refused: 1 })));
    }
    let is_warning = |event: &&TransferEvent| matches!(event, TransferEvent::Warned { index: 0, .. });
    assert_eq!(world.told[RECEIVER].iter().filter(is_warning).count(), 1);
}

#[test]
fn nothing_at_all_is_a_transfer_too() {
    let world = sent(&[], &MemoryStore::default(), SenderOptions::default());
    assert_eq!((world.ended(SENDER), world.ended(RECEIVER)), (Some(&verified(0)), Some(&verified(0))));
}

#[test]
fn each_file_has_its_own_verdict() {
    let contents: Vec<Vec<u8>> = (0..6).map(|seed| content(if seed < 3 { 10 } else { 200_000 }, seed)).collect();
    let (mut manifest, mut source) = files(&contents);
    source.files.remove(&1);
    source.files.get_mut(&2).unwrap().changes = true;
    source.files.get_mut(&3).unwrap().changes = true;
    source.files.get_mut(&4).unwrap().broken_at = Some(150_000);
    manifest.entries[5].kind = EntryKind::File { size: Some(200_001) };
    manifest.entries.push(entry("grown", EntryKind::File { size: Some(99_999) }));
    source.files.insert(6, File { content: content(100_000, 9), ..File::default() });
    manifest.entries.push(entry("grown a little", EntryKind::File { size: Some(0) }));
    source.files.insert(7, File { content: vec![1], ..File::default() });
    let store = MemoryStore::default();
    let mut world = World::with(manifest, source, &store, SenderOptions::default());
    world.run();
    use VerdictCode::*;
    for node in [SENDER, RECEIVER] {
        let codes = [Verified, Unreadable, Changed, Changed, Unreadable, Changed, Changed, Changed];
        assert!(world.verdicts(node).into_iter().map(|(_, code)| code).eq(codes), "{:?}", world.told[node]);
        assert_eq!(world.ended(node), Some(&Ok(Summary { verified: 1, failed: 7, refused: 0 })));
    }
    assert!(store.0.lock().unwrap().committed.keys().eq(&[0]));
}

#[test]
fn what_is_refused_is_not_sent() {
    let contents: Vec<Vec<u8>> = (0..7).map(|seed| content(100_000, seed)).collect();
    let store = MemoryStore::default();
    {
        let mut held = store.0.lock().unwrap();
        held.refused = [(0, StorageFailure::BadName), (1, StorageFailure::BadName), (4, StorageFailure::Exists)].into();
        held.bad = [(6, StorageFailure::Exists)].into();
    }
    let world = sent(&contents, &store, SenderOptions::default());
    use VerdictCode::*;
    for node in [SENDER, RECEIVER] {
        let codes = [BadName, BadName, Verified, Verified, Exists, Verified, Exists];
        assert!(world.verdicts(node).into_iter().map(|(_, code)| code).eq(codes), "{:?}", world.told[node]);
        assert_eq!(world.ended(node), Some(&Ok(Summary { verified: 3, failed: 1, refused: 3 })));
    }
    assert_eq!(store.0.lock().unwrap().written, 300_000);
}

#[test]
fn a_receiver_declines() {
    let (manifest, source) = files(&[content(100, 0)]);
    let mut world = World::with(manifest, source, &MemoryStore::default(), SenderOptions::default());
    world.store = None;
    world.start();
    assert!(matches!(world.told[RECEIVER][..], [TransferEvent::Offered { totals: Totals { bytes: 100, .. }, .. }]));
    let receiver = world.receiver.as_mut().unwrap();
    receiver.decline(world.now, &mut world.endpoints[RECEIVER], "not now\u{7}");
    world.settle();
    assert_eq!(world.ended(SENDER), Some(&Err(Failure::Declined("not now ".into()))));
    assert_eq!(world.ended(RECEIVER), Some(&Err(Failure::Cancelled)));
}

#[test]
fn either_end_cancels() {
    for node in [SENDER, RECEIVER] {
        let (manifest, source) = files(&[content(5_000_000, 0)]);
        let options = SenderOptions { rate: Some(100_000), ..SenderOptions::default() };
        let mut world = World::with(manifest, source, &MemoryStore::default(), options);
        world.start();
        if node == SENDER {
            world.sender.as_mut().unwrap().cancel(world.now, &mut world.endpoints[SENDER]);
        } else {
            world.receiver.as_mut().unwrap().cancel(world.now, &mut world.endpoints[RECEIVER]);
        }
        world.settle();
        world.pass_one(world.now + Duration::from_secs(1));
        assert_eq!(world.ended(node), Some(&Err(Failure::Cancelled)));
        let stopped = Failure::Stopped(StopCode::Cancelled, alloc::string::String::new());
        assert_eq!(world.ended(1 - node), Some(&Err(stopped)));
    }
}

#[test]
fn holes_are_told_and_not_sent() {
    let mut sparse = vec![0; 6_000_000];
    sparse[3_000_000] = 7;
    let (manifest, mut source) = files(core::slice::from_ref(&sparse));
    source.files.get_mut(&0).unwrap().sparse = true;
    let store = MemoryStore::default();
    let options = SenderOptions { unasked: false, ..SenderOptions::default() };
    let mut world = World::with(manifest, source, &store, options);
    world.run();
    assert_eq!(world.ended(RECEIVER), Some(&verified(1)));
    let held = store.0.lock().unwrap();
    assert_eq!(held.committed[&0], sparse);
    assert!(held.holes > 5_800_000 && held.written < 200_000 && world.bytes < 250_000, "{}", world.bytes);
    assert_eq!(world.progress(SENDER), 6_000_000);
}

#[test]
fn many_small_files_take_a_message_each_and_share_verdicts() {
    let contents: Vec<Vec<u8>> = (0..3_000_u32).map(|index| index.to_be_bytes().to_vec()).collect();
    let store = MemoryStore::default();
    let world = sent(&contents, &store, SenderOptions::default());
    assert_eq!(world.ended(SENDER), Some(&verified(3_000)));
    assert!(store.0.lock().unwrap().committed.values().eq(&contents));
    assert!(world.bytes < 3_000 * 100, "{}", world.bytes);
}

#[test]
fn a_rate_is_kept() {
    let store = MemoryStore::default();
    let options = SenderOptions { rate: Some(100_000), ..SenderOptions::default() };
    let world = sent(&[content(1_000_000, 0)], &store, options);
    assert_eq!(world.ended(RECEIVER), Some(&verified(1)));
    let millis = world.now.as_micros() / 1_000;
    assert!((9_000..11_000).contains(&millis), "{millis}");
}

#[test]
fn a_first_piece_is_there_when_the_receiver_accepts() {
    let (manifest, source) = files(&[content(1_000_000, 0)]);
    let store = MemoryStore::default();
    let mut world = World::with(manifest, source, &store, SenderOptions::default());
    world.store = None;
    world.start();
    let end = world.now + Duration::from_millis(200);
    while world.now < end {
        world.pass_one(end);
    }
    assert_eq!(world.progress(SENDER), PIECE as u64);
    assert_eq!(world.progress(RECEIVER), 0, "before it has accepted");
    let receiver = world.receiver.as_mut().unwrap();
    receiver.accept(world.now, &mut world.endpoints[RECEIVER], Box::new(store));
    world.take_events();
    assert_eq!(world.progress(RECEIVER), PIECE as u64, "without another round trip");
    world.run();
    assert_eq!(world.ended(SENDER), Some(&verified(1)));
}

#[test]
fn nothing_is_read_before_the_start() {
    let (manifest, source) = files(&[content(100, 0)]);
    let store = MemoryStore::default();
    let mut world = World::with(manifest, source, &store, SenderOptions::default());
    world.sender.as_mut().unwrap().start(world.now, &mut world.endpoints[SENDER]);
    world.settle();
    assert_eq!(world.told[RECEIVER], []);
    world.run();
    assert_eq!(world.ended(RECEIVER), Some(&verified(1)));
}

#[test]
fn a_full_disk_stops_all_and_leaves_what_is_there() {
    let contents: Vec<Vec<u8>> = (0..4).map(|seed| content(1_000_000, seed)).collect();
    let store = MemoryStore::default();
    store.0.lock().unwrap().room = Some(1_500_000);
    let world = sent(&contents, &store, SenderOptions::default());
    assert!(matches!(world.ended(RECEIVER), Some(Err(Failure::Storage(error))) if error.kind == StorageFailure::Full));
    assert!(matches!(world.ended(SENDER), Some(Err(Failure::Stopped(StopCode::Full, _)))), "{:?}", world.told[SENDER]);
    assert!(store.0.lock().unwrap().partial.values().map(Vec::len).sum::<usize>() > 1_000_000);
    store.0.lock().unwrap().room = None;
    let world = sent(&contents, &store, SenderOptions { unasked: false, ..SenderOptions::default() });
    assert_eq!(world.ended(SENDER), Some(&verified(4)));
    assert!(store.0.lock().unwrap().committed.values().eq(&contents));
    // Nothing has room from the beginning.
    let store = MemoryStore::default();
    store.0.lock().unwrap().room = Some(0);
    let world = sent(&contents, &store, SenderOptions::default());
    assert!(matches!(world.ended(SENDER), Some(Err(Failure::Stopped(StopCode::Full, _)))), "{:?}", world.told[SENDER]);
    assert_eq!(store.0.lock().unwrap().written, 0);
}
