//! Under other executors than smol's: endpoints, sessions and streams are plain futures.

use core::time::Duration;
use std::io;
use std::sync::Arc;

use futures_lite::StreamExt as _;
use rtmfp_core::FlowOptions;
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_smol::{Builder, Driver, Endpoint, Error};

fn builder(name: &str) -> Builder {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    Endpoint::builder().profile(profile).bind("127.0.0.1:0".parse().unwrap())
}

fn endpoint(name: &str) -> (Endpoint, Driver) {
    builder(name).build().unwrap()
}

type Build = fn(Builder) -> io::Result<(Endpoint, Driver)>;

/// Drivers with a thread, and without one.
const FORMS: [Build; 2] = [Builder::build, Builder::build_in_task];

/// Sends numbers, and has them sent back.
async fn there_and_back(near: Endpoint, far: Endpoint) -> Result<usize, Error> {
    let session = near.connect("far", &far.local_addrs()).await?;
    let accepted = far.accept().await.ok_or(Error::Stopped)?;
    let there = session.open_flow(FlowOptions::new("there"));
    there.send("first").await?;
    let received = accepted.accept_flow().await?;
    let back = received.open_return_flow(FlowOptions::new("back"));
    back.send("begins").await?;
    let returned = session.accept_flow().await?;
    for n in 0..20_u8 {
        there.send(vec![n; 5_000]).await?;
    }
    there.close();
    let mut messages = received.messages();
    while let Some(message) = messages.try_next().await? {
        back.send(message.data).await?;
    }
    back.close();
    let returned = returned.messages().count().await;
    near.shutdown(Duration::from_secs(60)).await?;
    far.shutdown(Duration::from_secs(60)).await?;
    Ok(returned)
}

#[test]
fn a_tokio_program_has_drivers_for_tasks() {
    let several = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let one = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for (runtime, build) in [(&several, FORMS[0]), (&several, FORMS[1]), (&one, FORMS[0]), (&one, FORMS[1])] {
        let (near, driving_near) = build(builder("near")).unwrap();
        let (far, driving_far) = build(builder("far")).unwrap();
        let drivers = [runtime.spawn(driving_near), runtime.spawn(driving_far)];
        // A task of its own, so that everything is seen to be Send.
        let task = runtime.spawn(there_and_back(near, far));
        runtime.block_on(async {
            assert_eq!(task.await.unwrap(), Ok(22));
            for driver in drivers {
                driver.await.unwrap().unwrap();
            }
        });
    }
}

#[test]
fn a_wait_that_tokio_ends_loses_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let ((near, driving_near), (far, driving_far)) = (endpoint("near"), endpoint("far"));
        tokio::spawn(driving_near);
        tokio::spawn(driving_far);
        let session = near.connect("far", &far.local_addrs()).await.unwrap();
        let flow = session.open_flow(FlowOptions::new("flow"));
        flow.send("first").await.unwrap();
        let received = far.accept().await.unwrap().accept_flow().await.unwrap();
        assert_eq!(received.recv().await.unwrap().unwrap().data, "first");
        for n in 0..50_u8 {
            let early = tokio::time::timeout(Duration::from_micros(50), received.recv()).await;
            assert!(early.is_err(), "nothing was sent");
            flow.send(vec![n; 9]).await.unwrap();
            assert_eq!(received.recv().await.unwrap().unwrap().data, vec![n; 9]);
        }
    });
}

/// The plainest executor there is, with the drivers on threads of their own.
#[test]
fn a_thread_that_only_blocks_is_enough() {
    for build in FORMS {
        let (near, driving_near) = build(builder("near")).unwrap();
        let (far, driving_far) = build(builder("far")).unwrap();
        let drivers = [driving_near, driving_far]
            .map(|driver| std::thread::spawn(move || futures_lite::future::block_on(driver).unwrap()));
        assert_eq!(futures_lite::future::block_on(there_and_back(near, far)), Ok(22));
        for driver in drivers {
            driver.join().unwrap();
        }
    }
}
