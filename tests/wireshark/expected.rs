//! What our own decoder reads from a plain packet, by the names of the dissector's fields.

use rtmfp_core::wire::{Address, Chunk, Chunks, FragmentFlags, PacketHeader};

use super::tshark::Fields;

/// The fields that are compared.
pub(crate) const COMPARED: [&str; 36] = [
    "rtmfp.mode",
    "rtmfp.tc",
    "rtmfp.tcr",
    "rtmfp.timestamp",
    "rtmfp.timestamp_echo",
    "rtmfp.chunk.type",
    "rtmfp.chunk.length",
    "rtmfp.chunk.summary",
    "rtmfp.packet_fragment.packet_id",
    "rtmfp.packet_fragment.number",
    "rtmfp.packet_fragment.data",
    "rtmfp.epd",
    "rtmfp.tag",
    "rtmfp.cookie",
    "rtmfp.cookie.new",
    "rtmfp.certificate",
    "rtmfp.component",
    "rtmfp.signature",
    "rtmfp.keying.sid",
    "rtmfp.ping.message",
    "rtmfp.address",
    "rtmfp.address.origin",
    "rtmfp.flow.id",
    "rtmfp.seq",
    "rtmfp.fsn",
    "rtmfp.userdata.fragment",
    "rtmfp.userdata.abandon",
    "rtmfp.userdata.final",
    "rtmfp.userdata.options_present",
    "rtmfp.userdata.data",
    "rtmfp.ack.blocks",
    "rtmfp.ack.cumulative",
    "rtmfp.ack.from",
    "rtmfp.ack.to",
    "rtmfp.exception.code",
    "rtmfp.ecn.ce",
];

/// Collects the values of fields in the order of the packet.
#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) fields: Fields,
    /// Whether a chunk does not follow its syntax. The dissector may have shown a part of it.
    pub(crate) malformed: bool,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Expected {
    /// Of a plain packet; `None` if it has no header.
    pub(crate) fn of(plain: &[u8]) -> Option<Self> {
        let (header, chunks) = PacketHeader::parse(plain).ok()?;
        let mut expected = Self::default();
        expected.header(&header);
        expected.chunks(chunks);
        Some(expected)
    }

    fn put(&mut self, field: &str, value: impl ToString) {
        self.fields.entry(format!("rtmfp.{field}")).or_default().push(value.to_string());
    }

    /// Fields without bytes have no value.
    fn bytes(&mut self, field: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.put(field, hex(bytes));
        }
    }

    fn flag(&mut self, field: &str, flag: bool) {
        self.put(field, u8::from(flag));
    }

    fn header(&mut self, header: &PacketHeader) {
        self.put("mode", header.mode as u8);
        self.flag("tc", header.time_critical);
        self.flag("tcr", header.time_critical_reverse);
        header.timestamp.iter().for_each(|timestamp| self.put("timestamp", timestamp));
        header.timestamp_echo.iter().for_each(|echo| self.put("timestamp_echo", echo));
    }

    fn chunks(&mut self, mut chunks: Chunks<'_>) {
        let mut user_data = None;
        while let Some((kind, payload)) = chunks.next_raw() {
            self.put("chunk.type", format_args!("0x{kind:02x}"));
            self.put("chunk.length", payload.len());
            match Chunk::parse(kind, payload) {
                Ok(chunk) => {
                    self.put("chunk.summary", chunk);
                    self.chunk(&chunk, &mut user_data);
                }
                Err(_) => {
                    self.malformed = true;
                    user_data = None;
                    self.put("chunk.summary", "Malformed");
                }
            }
        }
    }

    fn numbers(&mut self, flow: u64, sequence_number: u64, fsn: u64) {
        self.put("flow.id", flow);
        self.put("seq", sequence_number);
        self.put("fsn", fsn);
    }

    fn fragment(&mut self, flags: FragmentFlags, data: &[u8]) {
        self.flag("userdata.options_present", flags.options_present);
        self.put("userdata.fragment", flags.control as u8);
        self.flag("userdata.abandon", flags.abandon);
        self.flag("userdata.final", flags.last);
        self.bytes("userdata.data", data);
    }

    fn acknowledgement(&mut self, head: [u64; 3], ranges: impl Iterator<Item = (u64, u64)>) {
        self.put("flow.id", head[0]);
        self.put("ack.blocks", head[1]);
        self.put("ack.cumulative", head[2]);
        for (from, to) in ranges {
            self.put("ack.from", from);
            self.put("ack.to", to);
        }
    }

    fn address(&mut self, address: &Address) {
        self.put("address", address.socket);
        self.put("address.origin", address.origin as u8);
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, user_data: &mut Option<[u64; 3]>) {
        match chunk {
            Chunk::PacketFragment(chunk) => {
                self.put("packet_fragment.packet_id", chunk.packet_id);
                self.put("packet_fragment.number", chunk.fragment_number);
                self.bytes("packet_fragment.data", chunk.fragment);
            }
            Chunk::InitiatorHello(chunk) => {
                self.bytes("epd", chunk.discriminator);
                self.bytes("tag", chunk.tag);
            }
            Chunk::ForwardedHello(chunk) => {
                self.bytes("epd", chunk.discriminator);
                self.address(&chunk.reply_address);
                self.bytes("tag", chunk.tag);
            }
            Chunk::ResponderHello(chunk) => {
                self.bytes("tag", chunk.tag_echo);
                self.bytes("cookie", chunk.cookie);
                self.bytes("certificate", chunk.certificate);
            }
            Chunk::Redirect(chunk) => {
                self.bytes("tag", chunk.tag_echo);
                chunk.destinations.iter().for_each(|address| self.address(&address));
            }
            Chunk::CookieChange(chunk) => {
                self.bytes("cookie", chunk.old_cookie);
                self.bytes("cookie.new", chunk.new_cookie);
            }
            Chunk::InitiatorKeying(chunk) => {
                self.put("keying.sid", format_args!("0x{:08x}", chunk.session_id));
                self.bytes("cookie", chunk.cookie_echo);
                self.bytes("certificate", chunk.certificate);
                self.bytes("component", chunk.component);
                self.bytes("signature", chunk.signature);
            }
            Chunk::ResponderKeying(chunk) => {
                self.put("keying.sid", format_args!("0x{:08x}", chunk.session_id));
                self.bytes("component", chunk.component);
                self.bytes("signature", chunk.signature);
            }
            Chunk::Ping(chunk) => self.bytes("ping.message", chunk.message),
            Chunk::PingReply(chunk) => self.bytes("ping.message", chunk.message),
            Chunk::UserData(chunk) => {
                let numbers = [chunk.flow_id, chunk.sequence_number, chunk.forward_sequence_number()];
                *user_data = Some(numbers);
                self.numbers(numbers[0], numbers[1], numbers[2]);
                self.fragment(chunk.flags(), chunk.data);
            }
            Chunk::NextUserData(chunk) => {
                if let Some(numbers) = user_data {
                    numbers[1] = numbers[1].wrapping_add(1);
                    self.numbers(numbers[0], numbers[1], numbers[2]);
                }
                self.fragment(chunk.flags(), chunk.data);
            }
            Chunk::AckBitmap(chunk) => {
                self.acknowledgement([chunk.flow_id, chunk.blocks_available, chunk.cumulative_ack], chunk.ranges());
            }
            Chunk::AckRanges(chunk) => {
                self.acknowledgement([chunk.flow_id, chunk.blocks_available, chunk.cumulative_ack], chunk.ranges());
            }
            Chunk::BufferProbe(chunk) => self.put("flow.id", chunk.flow_id),
            Chunk::FlowException(chunk) => {
                self.put("flow.id", chunk.flow_id);
                self.put("exception.code", chunk.code);
            }
            Chunk::EcnReport(chunk) => self.put("ecn.ce", chunk.ce_count),
            Chunk::Close(_) | Chunk::CloseAck(_) | Chunk::Padding | Chunk::Unknown { .. } => {}
        }
    }

    /// Compares with what the dissector shows of the packet.
    pub(crate) fn check(&self, shown: &Fields, packet: &str) {
        let of = |fields: &Fields, name: &str| fields.get(name).cloned().unwrap_or_default();
        for field in COMPARED {
            // A malformed chunk may be shown in part.
            let always = ["mode", "tc", "timestamp", "chunk"].iter().any(|part| field[6..].starts_with(part));
            if self.malformed && !always {
                continue;
            }
            let mut seen = of(shown, field);
            match field {
                "rtmfp.chunk.summary" => {
                    for line in seen.iter_mut().filter(|line| line.starts_with("Malformed ")) {
                        line.truncate("Malformed".len());
                    }
                }
                "rtmfp.chunk.type" | "rtmfp.keying.sid" => {}
                _ => {
                    for value in &mut seen {
                        *value = value.replace("True", "1").replace("False", "0");
                    }
                }
            }
            assert_eq!(seen, of(&self.fields, field), "{field} of {packet}; shown: {shown:#?}");
        }
    }
}
