-- The fields that can be shown, filtered by and exported, with the sections that define them.

local chunk_types = {
    [0x00] = "Ignore/Padding", [0x01] = "Ping", [0x0c] = "Session Close Request", [0x0f] = "Forwarded Initiator Hello",
    [0x10] = "User Data", [0x11] = "Next User Data", [0x18] = "Buffer Probe", [0x30] = "Initiator Hello",
    [0x38] = "Initiator Initial Keying", [0x41] = "Ping Reply", [0x4c] = "Session Close Acknowledgement",
    [0x50] = "Data Acknowledgement Bitmap", [0x51] = "Data Acknowledgement Ranges", [0x5e] = "Flow Exception Report",
    [0x70] = "Responder Hello", [0x71] = "Responder Redirect", [0x78] = "Responder Initial Keying",
    [0x79] = "RHello Cookie Change", [0x7f] = "Packet Fragment", [0xec] = "ECN Report", [0xff] = "Ignore/Padding",
}
local modes = { [0] = "Forbidden", "Initiator Mark", "Responder Mark", "Startup" }
local origins = { [0] = "Unknown", "Local interface", "Observed", "Relay, proxy or introducer" }
local controls = { [0] = "Whole", "Begin", "End", "Middle" }
local ciphers = { "AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305" }
local groups = { [2] = "MODP 1024", [5] = "MODP 1536", [14] = "MODP 2048", [16] = "MODP 4096" }
local rtmp_types = {
    [4] = "User Control", [8] = "Audio", [9] = "Video", [15] = "Data (AMF3)", [16] = "Shared Object (AMF3)",
    [17] = "Command (AMF3)", [18] = "Data (AMF0)", [19] = "Shared Object (AMF0)", [20] = "Command (AMF0)",
    [22] = "Aggregate",
}

local F = {}

local function uint64(name, label, text) F[#F + 1] = ProtoField.uint64("rtmfp." .. name, label, base.DEC, nil, nil, text) return F[#F] end
local function bytes(name, label, text) F[#F + 1] = ProtoField.bytes("rtmfp." .. name, label, base.NONE, text) return F[#F] end
local function text(name, label, about) F[#F + 1] = ProtoField.string("rtmfp." .. name, label, base.ASCII, about) return F[#F] end
local function unicode(name, label, about) F[#F + 1] = ProtoField.string("rtmfp." .. name, label, base.UNICODE, about) return F[#F] end
local function flag(name, label, mask, about) F[#F + 1] = ProtoField.bool("rtmfp." .. name, label, 8, nil, mask, about) return F[#F] end
local function uint8(name, label, how, values, mask, about) F[#F + 1] = ProtoField.uint8("rtmfp." .. name, label, how, values, mask, about) return F[#F] end
local function uint16(name, label, how, about) F[#F + 1] = ProtoField.uint16("rtmfp." .. name, label, how or base.DEC, nil, nil, about) return F[#F] end
local function uint32(name, label, how, about) F[#F + 1] = ProtoField.uint32("rtmfp." .. name, label, how or base.HEX, nil, nil, about) return F[#F] end

-- The Multiplex packet (RFC 7016 §2.2.2) and its encryption (RFC 7425 §4.7).
F.ssid = uint32("ssid", "Scrambled Session ID", base.HEX, "RFC 7016 §2.2.2")
F.sid = uint32("sid", "Session ID", base.HEX, "RFC 7016 §2.2.2: that of the receiver")
F.encrypted = bytes("encrypted", "Encrypted Packet", "RFC 7016 §2.2.3")
F.key = text("key", "Key", "What opened the packet")
F.profile = text("profile", "Profile", "That of the key which opened the packet")
F.sseq = uint64("sseq", "Session Sequence Number", "RFC 7425 §4.7.3.3")
F.checksum = uint16("checksum", "Checksum", base.HEX, "RFC 7425 §4.7.3.1")
F.hmac = bytes("hmac", "HMAC", "RFC 7425 §4.7.3.2")

F.counter = uint64("modern.counter", "Counter", "Of the packets of a direction")
F.epoch = uint64("modern.epoch", "Epoch", "The counter shifted right by 22 bits")
F.aead_tag = bytes("modern.tag", "Authentication tag")

-- The plain packet (RFC 7016 §2.2.4).
F.flags = uint8("flags", "Flags", base.HEX)
F.tc = flag("tc", "Time Critical", 0x80)
F.tcr = flag("tcr", "Time Critical Reverse", 0x40)
F.ts_present = flag("ts_present", "Timestamp present", 0x08)
F.tse_present = flag("tse_present", "Timestamp Echo present", 0x04)
F.mode = uint8("mode", "Mode", base.DEC, modes, 0x03)
F.timestamp = uint16("timestamp", "Timestamp", base.DEC, "In units of 4 ms")
F.timestamp_echo = uint16("timestamp_echo", "Timestamp Echo", base.DEC, "In units of 4 ms")
F.padding = bytes("padding", "Padding")

-- Chunks (RFC 7016 §2.3).
F.chunk_type = uint8("chunk.type", "Type", base.HEX, chunk_types)
F.chunk_length = uint16("chunk.length", "Length")
F.summary = text("chunk.summary", "Summary", "The chunk in a line")
F.payload = bytes("chunk.payload", "Payload")
F.more_fragments = flag("packet_fragment.more", "More fragments", 0x80, "RFC 7016 §2.3.1")
F.packet_id = uint64("packet_fragment.packet_id", "Packet ID")
F.fragment_number = uint64("packet_fragment.number", "Fragment number")
F.fragment = bytes("packet_fragment.data", "Fragment")
F.epd = bytes("epd", "Endpoint Discriminator", "RFC 7016 §2.3.2")
F.tag = bytes("tag", "Tag")
F.cookie = bytes("cookie", "Cookie")
F.new_cookie = bytes("cookie.new", "New cookie", "RFC 7016 §2.3.6")
F.certificate = bytes("certificate", "Certificate")
F.component = bytes("component", "Session Key Component")
F.signature = bytes("signature", "Signature")
F.keying_sid = uint32("keying.sid", "Session ID for packets to the sender", base.HEX)
F.message = bytes("ping.message", "Message", "RFC 7016 §2.3.9")
F.origin = uint8("address.origin", "Origin", base.DEC, origins, 0x03, "RFC 7016 §2.1.5")
F.address = text("address", "Address")

-- User Data (RFC 7016 §2.3.11, §2.3.12).
F.options_present = flag("userdata.options_present", "Options present", 0x80)
F.control = uint8("userdata.fragment", "Fragment control", base.DEC, controls, 0x30)
F.abandon = flag("userdata.abandon", "Abandon", 0x02)
F.final = flag("userdata.final", "Final", 0x01)
F.flow = uint64("flow.id", "Flow ID")
F.seq = uint64("seq", "Sequence number")
F.fsn_offset = uint64("fsn_offset", "Forward Sequence Number offset")
F.fsn = uint64("fsn", "Forward Sequence Number")
F.option_type = uint64("option.type", "Option type")
F.metadata = bytes("metadata", "User's Per-Flow Metadata", "RFC 7016 §2.3.11.1.1")
F.association = uint64("return_flow", "Return Flow Association", "RFC 7016 §2.3.11.1.2")
F.option_value = bytes("option.value", "Option value")
F.data = bytes("userdata.data", "User data")

-- Acknowledgements and flow control (RFC 7016 §2.3.13 to §2.3.16).
F.blocks = uint64("ack.blocks", "Buffer blocks available", "In units of 1024 bytes")
F.cumulative = uint64("ack.cumulative", "Cumulative acknowledgement")
F.from = uint64("ack.from", "Received from")
F.to = uint64("ack.to", "Received to")
F.bitmap = bytes("ack.bitmap", "Bitmap")
F.code = uint64("exception.code", "Exception code")
F.ce = uint8("ecn.ce", "Packets marked CE", base.DEC, nil, nil, "Modulo 256; a chunk outside of RFC 7016")

-- Layouts of the Flash profile (RFC 7425).
F.hostname = text("flash.hostname", "Hostname", "§4.3.3.1, §4.4.2.1")
F.accepts_ancillary = bytes("flash.accepts_ancillary", "Accepts Ancillary Data", "§4.3.3.2")
F.ancillary = text("flash.ancillary", "Ancillary Data", "§4.4.2.2")
F.fingerprint = bytes("flash.fingerprint", "Fingerprint", "§4.3.2, §4.4.2.3")
F.randomness = bytes("flash.randomness", "Extra Randomness", "§4.3.3.3, §4.5.2.2")
F[#F + 1] = ProtoField.uint64("rtmfp.flash.group", "Diffie-Hellman group", base.DEC, groups, nil, "§4.2")
F.group = F[#F]
F.public_key = bytes("flash.public_key", "Diffie-Hellman public key", "§4.3.3.5, §4.5.2.1")
F.send_always = flag("flash.will_send_always", "Will send always", 0x04, "§4.5.2.4, §4.5.2.5")
F.send_on_request = flag("flash.will_send_on_request", "Will send on request", 0x02)
F.request = flag("flash.request", "Request", 0x01)
F.hmac_length = uint64("flash.hmac_length", "HMAC length", "§4.5.2.4")
F.password_hmac = bytes("flash.password_hmac", "Simple Password HMAC", "§4.3.5.1.1")
F.password_id = text("flash.password_id", "Password ID", "§4.3.5.1.1")
F.marker = bytes("flash.marker", "Marker", "The canonical section ends before the first (§4.3.1)")
F.stream = uint64("flash.stream", "RTMP Stream ID", "§5.1.1")
F.receive_intent = flag("flash.receive_intent", "Receive in network arrival order", 0x01, "§5.1.1")
F.rtmp_type = uint8("rtmp.type", "RTMP message type", base.DEC, rtmp_types, nil, "§5.1.2")
F.rtmp_timestamp = uint32("rtmp.timestamp", "RTMP timestamp", base.DEC, "In milliseconds")
F.rtmp_event = uint16("rtmp.event", "User Control event type", base.DEC, "34: Flow Synchronization (§5.2)")
F.sync_id = uint32("rtmp.sync_id", "Flow Synchronization ID", base.DEC, "§5.2")
F.sync_count = uint32("rtmp.sync_count", "Flows to synchronize", base.DEC, "§5.2")

-- Layouts of the modern profile.
F.identity = bytes("modern.identity", "Identity", "An Ed25519 public key")
F.peer_id = text("modern.peer_id", "Peer ID", "By which others pin the owner")
F.modern_hostname = unicode("modern.hostname", "Hostname", "A claim that nothing proves")
F.modern_accepts_ancillary = bytes("modern.accepts_ancillary", "Accepts Ancillary Data")
F.modern_ancillary = unicode("modern.ancillary", "Ancillary Data")
F.x25519 = bytes("modern.x25519", "X25519 public key")
F.cipher = uint8("modern.cipher", "Cipher", base.DEC, ciphers)
F.ml_kem_key = bytes("modern.ml_kem_key", "ML-KEM-768 encapsulation key")
F.ml_kem_ciphertext = bytes("modern.ml_kem_ciphertext", "ML-KEM-768 ciphertext")
F.ed25519_signature = bytes("modern.signature", "Ed25519 signature")

local experts = {
    malformed = ProtoExpert.new("rtmfp.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR),
    undecided = ProtoExpert.new("rtmfp.undecrypted", "Not decrypted", expert.group.UNDECODED, expert.severity.NOTE),
    cut = ProtoExpert.new("rtmfp.cut", "Cut short by the capture", expert.group.UNDECODED, expert.severity.NOTE),
}

return { fields = F, experts = experts, chunk_types = chunk_types }
