-- A Wireshark dissector for RTMFP (RFC 7016) under the Flash profile (RFC 7425) and the modern one. See README.md beside
-- this file.

local rtmfp = Proto("rtmfp", "Secure Real-Time Media Flow Protocol")

-- The other parts are in the same folder, wherever that is.
local here = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or ""
local function part(name, ...)
    return assert(loadfile(here .. name .. ".lua"))(...)
end

local crypto, reader = part("crypto", part), part("reader")
local flash_keys, modern_keys = part("flash_keys", crypto), part("modern_keys", crypto)
local keylog = part("keylog", { RTMFP_SESSION = flash_keys, RTMFP_MODERN = modern_keys })
-- The better check goes first: one of 65,536 packets that are none of startup passes for one of the Flash profile.
local keys = part("keys", crypto.sha256, keylog, { modern_keys, flash_keys })
local multiplex = part("multiplex", crypto.bits.bxor)
local declared = part("fields")
local F, experts, chunk_types = declared.fields, declared.experts, declared.chunk_types
local options, front = part("options", F, reader), part("front", F, reader)
local chunks = part("chunks", F, reader, {
    flash = part("flash", F, reader, options),
    modern = part("modern", F, options, crypto.sha256),
})

rtmfp.fields = {}
for index, field in ipairs(F) do
    rtmfp.fields[index] = field
end
rtmfp.experts = { experts.malformed, experts.undecided, experts.cut }

local AUTO, ENCRYPTED, PLAIN = 0, 1, 2
rtmfp.prefs.keylog = Pref.string("Key log file", os.getenv("RTMFP_KEYLOG") or "",
    "The file that a program wrote with RTMFP_KEYLOG. It has the keys that decrypt sessions.")
rtmfp.prefs.check_hmac = Pref.bool("Check HMACs", true, "Of the Flash profile. Takes about a millisecond a packet.")
rtmfp.prefs.packets = Pref.enum("Packets are", AUTO, "Plain packets are in captures of simulators.", {
    { 1, "found out by trying", AUTO },
    { 2, "encrypted", ENCRYPTED },
    { 3, "plain (no encryption)", PLAIN },
}, true)
rtmfp.prefs.ports = Pref.range("UDP ports", "1935-1936", "Ports whose packets are RTMFP. Others are found by their handshakes.", 65535)

-- Fragments of packets (§2.3.1) by sender, receiver and packet ID; what became whole, by the number of the frame; and the
-- metadata of flows by session ID and flow ID.
local fragments, assembled, metadata

-- The most fragments, and packets that wait for fragments.
local MOST_FRAGMENTS, MOST_PACKETS = 64, 4096
local waiting
-- The largest packet of fragments, as endpoints limit them.
local LARGEST_PACKET = 65536
-- The most addresses, options and ranges of acknowledgements that are shown of a packet: each costs time and memory.
local MOST_LISTED = 1000

local function reset()
    keys.reset()
    fragments, assembled, metadata, waiting = {}, {}, {}, 0
end
reset()
rtmfp.init = reset

local function take_prefs()
    keylog.file, flash_keys.check_hmac = rtmfp.prefs.keylog, rtmfp.prefs.check_hmac
end

-------------------------------------------------------------------------------------------------------- plain packets

-- Keeps a fragment; shows the packet below `tree` if it is whole with it.
local function fragment(context, tree, id, number, more, raw)
    local frame = context.pinfo.number
    local whole = assembled[frame] and assembled[frame][id]
    if not whole and not context.pinfo.visited then
        local key = ("%s %s %s %s %s"):format(context.pinfo.src, context.pinfo.src_port, context.pinfo.dst, context.pinfo.dst_port, id)
        local packet = fragments[key]
        if not packet then
            if waiting >= MOST_PACKETS then
                fragments, waiting = {}, 0
            end
            packet = { pieces = {} }
            fragments[key], waiting = packet, waiting + 1
        end
        if number < MOST_FRAGMENTS then
            packet.pieces[number] = raw
            if not more then
                packet.last = number
            end
        end
        for index = 0, packet.last or -1 do
            if not packet.pieces[index] then
                return
            end
        end
        if not packet.last then
            return
        end
        whole = table.concat(packet.pieces, "", 0, packet.last)
        fragments[key], waiting = nil, waiting - 1
        if #whole > LARGEST_PACKET then
            return
        end
        assembled[frame] = assembled[frame] or {}
        assembled[frame][id] = whole
    end
    if whole and #whole > 0 then
        context.show_whole(tree, whole)
    end
end

local function flow_key(id, flow)
    return ("%08x %s"):format(id, flow)
end

-- The header (§2.2.4) and where the chunks begin; nil if there is none.
local function header(r, tree)
    local flags, at = r:u8()
    local item = tree:add(F.flags, at)
    for _, field in ipairs({ F.tc, F.tcr, F.ts_present, F.tse_present, F.mode }) do
        item:add(field, at)
    end
    local mode = flags % 4
    if mode == 0 then
        reader.malformed()
    end
    if flags % 16 >= 8 then
        tree:add(F.timestamp, (r:bytes(2)))
    end
    if flags % 8 >= 4 then
        tree:add(F.timestamp_echo, (r:bytes(2)))
    end
    return mode
end

-- A chunk, if what is left has the form of one (§2.2.4): its type, a reader over its payload, and its range.
local function next_chunk(r)
    if r:left() < 3 then
        return nil
    end
    local kind, length = r.tvb(r.at, 1):uint(), r.tvb(r.at + 1, 2):uint()
    if length > r:left() - 3 then
        return nil
    end
    local from = r.at
    r.at = from + 3 + length
    return kind, reader.new(r.tvb, from + 3, length), r.tvb(from, 3 + length)
end

local function dissect_chunk(kind, payload, range, tree, context)
    local name = chunk_types[kind] or "Unknown"
    local item = tree:add(rtmfp, range, name)
    local length = payload:left()
    item:add(F.chunk_type, range(0, 1))
    item:add(F.chunk_length, range(1, 2))
    local line
    if chunks[kind] then
        line = reader.try(chunks[kind], payload, item, context)
    else
        if length > 0 then
            item:add(F.payload, range(3, length))
        end
        line = ("Unknown type=0x%02x"):format(kind)
    end
    if not line then
        -- It may have been User Data: Next User Data behind it cannot be trusted (§2.3, §2.3.12).
        context.user_data = nil
        line = "Malformed " .. name
        item:add_proto_expert_info(experts.malformed, "The chunk does not follow its syntax, and is ignored (RFC 7016 §2.3)")
    end
    item:set_text(line)
    item:add(F.summary, line):set_generated()
    return line
end

-- A plain packet (§2.2.4). Returns its mode and the lines of its chunks, or nil if it has no header.
local function dissect_plain(r, tree, context)
    local mode = reader.try(header, r, tree)
    if not mode then
        tree:add_proto_expert_info(experts.malformed, "The packet has no valid header, and is dropped (RFC 7016 §2.2.4)")
        return nil
    end
    local lines = {}
    while true do
        local kind, payload, range = next_chunk(r)
        if not kind then
            break
        end
        lines[#lines + 1] = dissect_chunk(kind, payload, range, tree, context)
    end
    if r:left() > 0 then
        tree:add(F.padding, (r:range()))
    end
    return mode, lines
end

-- What the chunks of a packet may need to know and to keep.
local function new_context(pinfo, id, profile)
    local context, listed = { pinfo = pinfo, profile = profile }, 0
    function context.list()
        listed = listed + 1
        return listed <= MOST_LISTED
    end
    function context.keying(responder_id, component)
        keys.keying(id, responder_id, component)
    end
    function context.metadata(flow, value)
        if not flow then
            return nil
        end
        metadata[flow_key(id, flow)] = value or metadata[flow_key(id, flow)]
        return metadata[flow_key(id, flow)]
    end
    function context.fragment(...)
        fragment(context, ...)
    end
    function context.show_whole(tree, whole)
        local inner = new_context(pinfo, id, profile)
        -- A packet in a packet in a packet is nobody's.
        inner.fragment = function() end
        local tvb = ByteArray.new(whole, true):tvb("Reassembled RTMFP packet")
        local item = tree:add(rtmfp, tvb(), "Reassembled packet")
        dissect_plain(reader.new(tvb, 0, tvb:len()), item, inner)
    end
    return context
end

-- Whether bytes have the form of a plain packet, so strictly that hardly anything else passes.
local function looks_plain(tvb, offset)
    local r = reader.new(tvb, offset, tvb:len() - offset)
    local found = reader.try(function()
        local flags = r:u8()
        if flags % 4 == 0 or flags % 64 >= 16 then
            return false
        end
        r:bytes((flags % 16 >= 8 and 2 or 0) + (flags % 8 >= 4 and 2 or 0))
        local count = 0
        while true do
            local kind = next_chunk(r)
            if not kind then
                break
            end
            if not chunk_types[kind] then
                return false
            end
            -- Zeros are padding, and many protocols have zeros.
            if kind ~= 0x00 and kind ~= 0xff then
                count = count + 1
            end
        end
        local rest = r:raw()
        -- Padding is of one value; the plain profile for tests has a checksum behind it.
        return count > 0 and (rest:find("^\255*$") or rest:find("^\0*..?$") or rest == "") and true
    end)
    return found == true
end

---------------------------------------------------------------------------------------------------- multiplex packets

-- Longer datagrams are mostly several.
local LARGE = 1500

-- What a datagram is: its session ID, and what its packet was opened with, or why it was not; or how long the datagrams
-- in it are, unless it is known to be a single one.
local function classify(tvb, single)
    if tvb:len() < 4 then
        return nil
    end
    take_prefs()
    local found = { id = multiplex.session_id(tvb), whole = tvb:len() == tvb:reported_len() }
    local how = rtmfp.prefs.packets
    if not found.whole or tvb:len() == 4 then
        return found
    end
    -- Large ones are looked at before time is spent on opening them.
    found.length = not single and how ~= PLAIN and tvb:len() > LARGE and multiplex.segment_length(tvb, found.id)
    if found.length then
        return found
    end
    if how ~= PLAIN then
        local sealed = tvb(4):bytes():raw()
        -- The last packets of a handshake have a session ID already, and the Default Session Key (§2.2.3).
        -- The better check goes first: one of 65,536 packets of a session passes for one of startup. Trials go last: they
        -- are few, and nobody is to use them up with packets of startup.
        local failed
        found.opened, failed = keys.open_known(found.id, sealed)
        found.opened = found.opened or keys.open_startup(sealed)
        if not found.opened and found.id ~= 0 then
            found.opened, found.why = keys.open_unknown(found.id, sealed, failed)
        end
        found.why = found.why or "It is for startup, and the Default Session Key of no profile opens it (RFC 7016 §2.2.3)"
    end
    if not found.opened then
        found.plain = how == PLAIN or (how == AUTO and looks_plain(tvb, 4))
    end
    return found
end

local MODES = { "Initiator", "Responder", "Startup" }

-- Shows a datagram. Returns what the information column says of it.
local function dissect_one(found, tvb, pinfo, tree)
    local item = tree:add(rtmfp, tvb())
    if not found then
        item:add_proto_expert_info(experts.malformed, "Shorter than a session ID (RFC 7016 §2.2.2)")
        return "Malformed: shorter than a session ID"
    end
    item:add(F.ssid, tvb(0, 4))
    item:add(F.sid, found.id):set_generated()
    local sealed = tvb:len() > 4 and tvb(4)
    local r
    if found.opened then
        item:add(F.encrypted, sealed)
        local plain = ByteArray.new(found.opened.plain, true):tvb("Decrypted RTMFP packet")
        reader.try(front.show, found.opened, plain, sealed, item)
        r = reader.new(plain, found.opened.front, plain:len() - found.opened.front)
    elseif found.plain and sealed then
        item:add(F.key, "none (plain packet)"):set_generated()
        r = reader.new(tvb, 4, tvb:len() - 4)
    else
        if sealed then
            item:add(F.encrypted, sealed)
        end
        if not found.whole then
            item:add_proto_expert_info(experts.cut, "The capture has only the beginning of the packet")
        elseif found.why then
            item:add_proto_expert_info(experts.undecided, found.why)
        else
            item:add_proto_expert_info(experts.malformed, "There is nothing behind the session ID (RFC 7016 §2.2.2)")
        end
        return ("Session %08x, not decrypted, %d bytes"):format(found.id, tvb:len() - 4)
    end
    local mode, lines = dissect_plain(r, item, new_context(pinfo, found.id, found.opened and found.opened.profile))
    local info = mode and MODES[mode] or "Malformed packet"
    if lines and #lines > 0 then
        info = info .. ": " .. table.concat(lines, ", ")
    end
    item:append_text((", session %08x, %s"):format(found.id, mode and MODES[mode] or "malformed"))
    return info
end

local function dissect(found, tvb, pinfo, tree)
    pinfo.cols.protocol = "RTMFP"
    local length = found and (found.length or (found.why and not found.plain and multiplex.segment_length(tvb, found.id)))
    if not length then
        pinfo.cols.info = dissect_one(found, tvb, pinfo, tree)
        return
    end
    local infos = {}
    for at = 0, tvb:len() - 1, length do
        local one = tvb(at, math.min(length, tvb:len() - at)):tvb()
        infos[#infos + 1] = dissect_one(classify(one, true), one, pinfo, tree)
    end
    pinfo.cols.info = ("%d datagrams (segmentation offload): %s"):format(#infos, table.concat(infos, "; "))
end

function rtmfp.dissector(tvb, pinfo, tree)
    dissect(classify(tvb), tvb, pinfo, tree)
    return tvb:len()
end

-- RTMFP on any port: a startup packet, or one of a session whose handshake or key is known.
local function heuristic(tvb, pinfo, tree)
    local found = classify(tvb)
    if not found or not (found.opened or found.plain or keys.knows(found.id)) then
        return false
    end
    -- What follows in this conversation is RTMFP too, whether it can be decrypted or not.
    pinfo.conversation = rtmfp
    dissect(found, tvb, pinfo, tree)
    return true
end

local udp = DissectorTable.get("udp.port")
local registered
local function register_ports()
    if registered then
        udp:remove(registered, rtmfp)
    end
    registered = rtmfp.prefs.ports
    udp:add(registered, rtmfp)
end

function rtmfp.prefs_changed()
    take_prefs()
    keys.reset()
    register_ports()
end

register_ports()
udp:add_for_decode_as(rtmfp)
rtmfp:register_heuristic("udp", heuristic)
