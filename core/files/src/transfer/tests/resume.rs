//! Transfers that go on after an interruption.

use super::*;

fn again() -> SenderOptions {
    SenderOptions { unasked: false, ..SenderOptions::default() }
}

/// What the far end has of the only file, and how many bytes are to be sent then.
fn goes_on(length: usize, stored: Vec<u8>, expected: u64) {
    let content = content(length, 5);
    let (stored_length, store) = (stored.len(), MemoryStore::default());
    store.0.lock().unwrap().partial.insert(0, stored);
    let world = sent(core::slice::from_ref(&content), &store, again());
    let told = &world.told;
    assert_eq!(world.ended(SENDER).unwrap().as_ref().unwrap().verified, 1, "{length}, {stored_length}: {told:?}");
    assert_eq!(store.0.lock().unwrap().committed[&0], content, "{length}, {stored_length}");
    assert_eq!((world.progress(SENDER), world.progress(RECEIVER)), (expected, expected), "{length}, {stored_length}");
}

#[test]
fn a_file_goes_on_after_its_last_whole_group_whatever_is_there() {
    let group = GROUP as u64;
    for length in [10, 16_384, 16_385, 32_768, 50_000, 65_536, 200_000] {
        let whole = content(length, 5);
        for stored in [0, 1, 16_383, 16_384, 16_385, 65_536, 65_537, 131_072, length - 1, length] {
            let Some(stored) = whole.get(..stored) else { continue };
            let kept = if stored.len() == length { length as u64 } else { stored.len() as u64 / group * group };
            goes_on(length, stored.to_vec(), length as u64 - kept);
        }
    }
}

#[test]
fn what_is_there_and_is_something_else_counts_for_nothing() {
    for at in [0, 16_384, 99_999] {
        let mut stored = content(100_000, 5);
        stored[at] ^= 1;
        goes_on(100_000, stored, 100_000);
        let mut small = content(20_000, 5);
        small[at % 20_000] ^= 1;
        goes_on(20_000, small, 20_000);
    }
    // What is longer than the file should be.
    goes_on(50_000, content(60_000, 5), 0);
}

#[test]
fn a_transfer_that_is_cut_off_again_and_again_sends_little_twice() {
    let contents: Vec<Vec<u8>> = [0, 900_000, 10, 20_000, 2_000_000, 30_000, 700_000, 32_768, 1_500_000]
        .into_iter()
        .enumerate()
        .map(|(seed, length)| content(length, u8::try_from(seed).unwrap()))
        .collect();
    let total: u64 = contents.iter().map(|content| content.len() as u64).sum();
    let (store, mut cuts) = (MemoryStore::default(), 0);
    loop {
        let (manifest, source) = files(&contents);
        let mut world = World::with(manifest, source, &store, again());
        world.cut = Some(world.bytes + 700_000 + 37_000 * cuts);
        world.run();
        if world.ended(SENDER).unwrap().is_ok() {
            break;
        }
        assert!(matches!(world.ended(SENDER), Some(Err(Failure::Lost(_)))), "{:?}", world.told[SENDER]);
        cuts += 1;
    }
    let held = store.0.lock().unwrap();
    assert!(held.committed.values().eq(&contents), "identical in the end");
    assert!(cuts >= 5, "{cuts}");
    // A file in each of four flows may have lost what is not a whole message, and a small file all of it.
    let twice = held.written - total;
    assert!(twice <= cuts as u64 * 4 * 65_536, "{twice} bytes in {cuts} cuts");
}

#[test]
fn unasked_content_of_a_file_that_is_there_counts_for_nothing() {
    for length in [20_000, 300_000] {
        for stored in [16_384, length] {
            let contents = [content(length, 5), content(1_000, 6)];
            let store = MemoryStore::default();
            store.0.lock().unwrap().partial.insert(0, contents[0][..stored].to_vec());
            let world = sent(&contents, &store, SenderOptions::default());
            assert_eq!(world.ended(SENDER).unwrap().as_ref().unwrap().verified, 2, "{:?}", world.told[SENDER]);
            assert!(store.0.lock().unwrap().committed.values().eq(&contents));
            assert_eq!(world.progress(RECEIVER), (length - stored + 1_000) as u64);
        }
    }
}

#[test]
fn unasked_content_of_a_file_that_is_refused_counts_for_nothing() {
    for (length, is_there) in [(20_000, true), (300_000, true), (300_000, false)] {
        let (manifest, mut source) = files(&[content(length, 5), content(70_000, 6)]);
        if !is_there {
            source.files.remove(&0);
        }
        let store = MemoryStore::default();
        store.0.lock().unwrap().refused.insert(0, StorageFailure::Exists);
        let mut world = World::with(manifest, source, &store, SenderOptions::default());
        world.run();
        let summary = Summary { verified: 1, failed: 0, refused: 1 };
        assert_eq!(world.ended(SENDER), Some(&Ok(summary)), "{:?}", world.told[SENDER]);
        assert_eq!(world.ended(RECEIVER), Some(&Ok(summary)));
    }
}

#[test]
fn what_is_there_is_hashed_in_turns_while_others_are_served() {
    let contents = [content(9_000_000, 5)];
    let store = MemoryStore::default();
    store.0.lock().unwrap().partial.insert(0, contents[0][..8_900_000].to_vec());
    let (manifest, source) = files(&contents);
    let mut world = World::with(manifest, source, &store, again());
    world.start();
    let hashed = world.sum(RECEIVER, hashing);
    assert!((1..5_000_000).contains(&hashed), "{hashed} in the first turn");
    assert!(world.receiver.as_ref().unwrap().next_timeout().is_some_and(|due| due > world.now));
    world.run();
    assert_eq!(world.ended(SENDER).unwrap().as_ref().unwrap().verified, 1);
    assert!(world.sum(SENDER, hashing) >= 8_880_000 && world.sum(RECEIVER, hashing) >= 8_900_000);
}

fn hashing(event: &TransferEvent) -> Option<u64> {
    if let TransferEvent::Hashing { bytes } = event { Some(*bytes) } else { None }
}
