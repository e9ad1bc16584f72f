//! Peers that find each other through an introducer, as futures, over loopback.

use core::time::Duration;

use futures_lite::{StreamExt, future};
use rtmfp_core::FlowOptions;
use rtmfp_core::profile::flash::{Fingerprint, Group, StaticKeys};
use rtmfp_smol::{Builder, Endpoint, Error, IntroducePolicy, RegistrationEvent, Remote, system_rng};

fn start(builder: Builder) -> Endpoint {
    let keys = StaticKeys::generate(&[Group::Modp1024], &mut *system_rng().unwrap());
    let builder = builder.static_keys(keys).bind("127.0.0.1:0".parse().unwrap());
    let (endpoint, driver) = builder.build().unwrap();
    smol::spawn(driver).detach();
    endpoint
}

fn peer() -> Endpoint {
    start(Endpoint::builder().peer())
}

#[test]
fn the_application_introduces_whoever_is_registered() {
    smol::block_on(async {
        let introducer = start(Endpoint::builder().peer().introduce(IntroducePolicy::Ask));
        let mut requests = introducer.introductions();
        let deciding = smol::spawn(async move {
            let mut done = Vec::new();
            while let Some(request) = requests.next().await {
                done.push((request.peer_id().unwrap(), request.introduce().await));
            }
            done
        });
        let (near, far) = (peer(), peer());
        let at = introducer.local_addrs().first().copied().unwrap();
        let registration = far.register(Remote::peer(introducer.peer_id().unwrap()).at(at)).await.unwrap();
        registration.wait_registered().await.unwrap();
        assert_eq!(registration.events().next().await, Some(RegistrationEvent::Registered));
        // Nothing is lost with a future that is given up.
        assert!(future::poll_once(registration.next_event()).await.is_none());

        let far_id = far.peer_id().unwrap();
        let session = near.connect_through(far_id, &[at]).await.unwrap();
        session.open_flow(FlowOptions::new("flow")).send("hello").await.unwrap();
        let flow = far.accept().await.unwrap().accept_flow().await.unwrap();
        assert_eq!(flow.recv().await.unwrap().unwrap().data, "hello");
        let nobody = Fingerprint([7; 32]);
        let unknown = Remote::peer(nobody).through(at).timeout(Duration::from_secs(1));
        assert_eq!(near.connect_to(unknown).await.err(), Some(Error::NotIntroduced));

        introducer.shutdown(Duration::from_secs(10)).await.unwrap();
        assert!(matches!(registration.next_event().await, Some(RegistrationEvent::Lost(Error::SessionClosed(_)))));
        assert!(!registration.registered() && registration.session().is_none());
        let done = deciding.await;
        assert!(done.contains(&(far_id, true)) && done.contains(&(nobody, false)), "{done:?}");
    });
}
