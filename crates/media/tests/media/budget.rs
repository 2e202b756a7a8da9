//! Decoded pixels in flight stay within their budget.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use karst_contract::{Source, limits};
use karst_media::{Budget, decode, decode_within};

use crate::{from_bytes, make, picture};

#[test]
fn i11_bytes_in_flight_never_exceed_the_budget_and_everyone_is_served() {
    let (budget, in_flight, served) = (Budget::new(1_000), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for k in 0..16_u64 {
            let (budget, in_flight, served) = (&budget, &in_flight, &served);
            scope.spawn(move || {
                for i in 0..200 {
                    let permit = budget.acquire(1 + (37 * k + 91 * i) % 700);
                    let now = in_flight.fetch_add(permit.bytes(), Ordering::SeqCst) + permit.bytes();
                    assert!(now <= 1_000, "{now}");
                    in_flight.fetch_sub(permit.bytes(), Ordering::SeqCst);
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(served.into_inner(), 16 * 200);
    assert_eq!(budget.free(), 1_000);
}

#[test]
fn i11_whoever_comes_first_is_served_first() {
    let budget = Budget::new(100);
    let held = budget.acquire(60);
    let (tell, told) = mpsc::channel();
    let large = thread::spawn({
        let (budget, tell) = (budget.clone(), tell.clone());
        move || {
            let _permit = budget.acquire(80);
            tell.send("large").unwrap();
        }
    });
    // Wait until the large one stands in the queue: then nothing passes it, though 40 bytes are free.
    while budget.try_acquire(1).is_some() {
        thread::sleep(Duration::from_millis(1));
    }
    let small = thread::spawn({
        let budget = budget.clone();
        move || {
            // Not beside the large one, or either might speak first.
            let _permit = budget.acquire(30);
            tell.send("small").unwrap();
        }
    });
    assert!(told.recv_timeout(Duration::from_millis(50)).is_err());
    drop(held);
    assert_eq!(told.recv().unwrap(), "large");
    assert_eq!(told.recv().unwrap(), "small");
    large.join().unwrap();
    small.join().unwrap();
    assert_eq!(budget.free(), 100);
}

#[test]
fn i11_what_exceeds_the_whole_budget_waits_to_be_alone() {
    let budget = Budget::new(100);
    let held = budget.acquire(1);
    assert!(budget.try_acquire(1_000).is_none());
    drop(held);
    let alone = budget.acquire(1_000);
    assert_eq!((alone.bytes(), budget.free()), (100, 0));
}

#[test]
fn i11_a_permit_shrinks_and_returns() {
    let budget = Budget::new(100);
    let mut permit = budget.acquire(70);
    permit.shrink(30);
    assert_eq!((permit.bytes(), budget.free()), (30, 70));
    permit.shrink(50);
    assert_eq!((permit.bytes(), budget.free()), (30, 70), "it never grows");
    drop(permit);
    assert_eq!(budget.free(), 100);
}

#[test]
fn i11_a_decoded_frame_holds_its_own_bytes_and_no_more() {
    let budget = Budget::new(limits::MAX_DECODED_BYTES);
    let frame = make::gradient(50, 40);
    for (format, bytes) in make::one_of_each(&frame) {
        let held = decode_within(&from_bytes(&bytes), &budget).unwrap();
        assert_eq!(held.frame, decode(&from_bytes(&bytes)).unwrap(), "{format}");
        assert_eq!(held.permit.bytes(), 6_000, "{format}");
        assert_eq!(budget.free(), limits::MAX_DECODED_BYTES - 6_000, "{format}");
        drop(held);
        assert!(decode_within(&from_bytes(&bytes[..bytes.len() / 2]), &budget).is_err(), "{format}");
        assert_eq!(budget.free(), limits::MAX_DECODED_BYTES, "{format}");
    }
    let held = decode_within(&picture(Source::Frame(frame)), &budget).unwrap();
    assert_eq!(held.permit.bytes(), 6_000);
}

#[test]
fn i11_two_hundred_pictures_at_once_share_a_budget_for_three() {
    let bytes = make::jpeg(&make::gradient(640, 480));
    let expected = decode(&from_bytes(&bytes)).unwrap();
    // A JPEG takes 3 + 8 bytes a pixel at its peak.
    let budget = Budget::new(3 * 11 * 640 * 480);
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let held = decode_within(&from_bytes(&bytes), &budget).unwrap();
                assert_eq!(held.frame, expected);
            });
        }
    });
    assert_eq!(budget.free(), 3 * 11 * 640 * 480);
}
