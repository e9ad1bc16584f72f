//! The socket of a rollback library for games over RTMFP: `cargo run -p rtmfp-smol --example game_socket`
//!
//! Such a library polls its socket once a frame, and wants neither order nor repetition. The trait here has the shape of
//! `ggrs::NonBlockingSocket`. With that crate, which brings serialization and random numbers along, the adapter is the
//! same, and its messages go through the serializer of the game's choice.

use std::collections::BTreeMap;
use std::time::Duration;

use rtmfp_smol::profile::Fingerprint;
use rtmfp_smol::{Bytes, Endpoint, FlowOptions, ReceiveOrder, RecvFlow, Remote, SendFlow, SendOptions, Session};
use smol::Timer;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What the library asks of a socket.
trait NonBlockingSocket<A> {
    fn send_to(&mut self, message: &[u8], address: &A);
    fn receive_all_messages(&mut self) -> Vec<(A, Bytes)>;
}

/// The adapter: players are known by their peer IDs, wherever they are and move to.
#[derive(Default)]
struct RtmfpSocket(BTreeMap<Fingerprint, Player>);

struct Player {
    session: Session,
    sending: SendFlow,
    receiving: Option<RecvFlow>,
}

impl RtmfpSocket {
    fn add(&mut self, peer_id: Fingerprint, session: Session) {
        let sending = session.open_flow(FlowOptions::new("inputs").time_critical());
        self.0.insert(peer_id, Player { session, sending, receiving: None });
    }
}

impl Player {
    fn receive(&mut self) -> Vec<Bytes> {
        if self.receiving.is_none() {
            self.receiving = self.session.try_accept_flow().ok().flatten();
            self.receiving.iter().for_each(|flow| flow.set_order(ReceiveOrder::Network));
        }
        let Some(flow) = &self.receiving else { return Vec::new() };
        std::iter::from_fn(|| flow.try_recv().ok()).map(|message| message.data).collect()
    }
}

impl NonBlockingSocket<Fingerprint> for RtmfpSocket {
    fn send_to(&mut self, message: &[u8], address: &Fingerprint) {
        let Some(player) = self.0.get(address) else { return };
        let options = SendOptions::new().no_retransmit().deadline(Duration::from_millis(100));
        // What there is no room for is out of date before there is: the library sends its state again.
        let _ = player.sending.try_send_with(message.to_vec(), options);
    }

    fn receive_all_messages(&mut self) -> Vec<(Fingerprint, Bytes)> {
        let players = self.0.iter_mut();
        players.flat_map(|(peer_id, player)| player.receive().into_iter().map(|data| (*peer_id, data))).collect()
    }
}

fn bind() -> Result<(Endpoint, Fingerprint)> {
    let builder = Endpoint::builder().peer().game();
    let (endpoint, driver) = builder.bind("127.0.0.1:0".parse()?).build()?;
    smol::spawn(driver).detach();
    let peer_id = endpoint.peer_id().ok_or("no peer ID")?;
    Ok((endpoint, peer_id))
}

fn main() -> Result<()> {
    smol::block_on(async {
        let ((red, red_id), (blue, blue_id)) = (bind()?, bind()?);
        let address = *blue.local_addrs().first().ok_or("no address")?;
        let to_blue = red.connect_to(Remote::peer(blue_id).at(address)).await?;
        let to_red = blue.accept().await.ok_or("stopped")?;
        // From here on the session is known to be red's and nobody else's.
        to_red.far_keys_proved().await?;
        let its_id = to_red.peer_id().filter(|peer_id| *peer_id == red_id).ok_or("somebody else calls")?;
        let (mut red_socket, mut blue_socket) = (RtmfpSocket::default(), RtmfpSocket::default());
        red_socket.add(blue_id, to_blue);
        blue_socket.add(its_id, to_red);
        let (mut red_has, mut blue_has) = (0, 0);
        for frame in 0_u32..60 {
            red_socket.send_to(format!("red's input of frame {frame}").as_bytes(), &blue_id);
            blue_socket.send_to(format!("blue's input of frame {frame}").as_bytes(), &red_id);
            Timer::after(Duration::from_millis(16)).await;
            let (at_red, at_blue) = (red_socket.receive_all_messages(), blue_socket.receive_all_messages());
            (red_has, blue_has) = (red_has + at_red.len(), blue_has + at_blue.len());
            if let Some((from, data)) = at_red.last().filter(|_| frame % 15 == 14) {
                let name = from.to_string();
                let (name, text) = (name.get(..8).unwrap_or_default(), String::from_utf8_lossy(data));
                println!("frame {frame}: {name}… sent {text:?}");
            }
        }
        println!("of 60 inputs each, red has {red_has} of blue's, and blue has {blue_has} of red's");
        Ok(())
    })
}
