-- The chunks of RFC 7016 §2.3. Each function shows one below `tree`, and returns the line that tells it. `context` is of
-- the packet: `profile` is the name of its profile, if that is known, `user_data` is the last User Data in it, `list` tells
-- whether one more element of a list is to be shown, and the other functions keep what later packets need.

local F, reader, profiles = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(F) ~= "table" then
    return
end

local chunks = {}
-- RTMP messages are the same in all profiles (RFC 7425 §5.1).
local rtmp = profiles.flash

local ONE = UInt64.new(1, 0)
local TWO = UInt64.new(2, 0)
local LARGEST = UInt64.new(0xffffffff, 0xffffffff)
-- Bytes of a byte string that a line shows.
local SHOWN = 8
-- Behind the last address, option or range that a packet shows.
local MORE = " …"

-- The length of what is left of `r`, and its first bytes.
local function hex(r)
    local raw = r:raw()
    if #raw == 0 then
        return "0B"
    end
    local digits = raw:sub(1, SHOWN):gsub(".", function(c) return ("%02x"):format(c:byte()) end)
    return ("%dB:%s%s"):format(#raw, digits, #raw > SHOWN and ".." or "")
end

-- Shows all that `r` has left as one field. Returns the field's item and how a line tells it. What is empty is only in
-- the line: exporting a field of bytes without any makes tshark 4.0 crash.
local function show(tree, field, r)
    local range, length = r:range()
    return length > 0 and tree:add(field, range) or tree, hex(r)
end

local function vlu(tree, field, r)
    local value, range = r:vlu()
    tree:add(field, range, value)
    return value
end

local function generated(tree, field, value)
    tree:add(field, value):set_generated()
end

-- An Internet socket address (§2.1.5).
local function address(tree, r)
    local from = r.at
    local flags, at = r:u8()
    local six = flags >= 128
    local range = r:bytes(six and 16 or 4)
    local port = r:u16()
    local host = six and tostring(range:ipv6()) or tostring(range:ipv4())
    local text = (six and "[%s]:%d" or "%s:%d"):format(host, port)
    tree:add(F.origin, at)
    tree:add(F.address, r.tvb(from, r.at - from), text)
    local origin = { [0] = "", " (local)", " (observed)", " (relay)" }
    return text .. origin[flags % 4]
end

-- The layouts of what `sub` has. In a plain packet nothing tells of the profile, but their options have other types.
local function profile_of(context, sub)
    return profiles[context.profile] or (profiles.modern.claims(sub) and profiles.modern or profiles.flash)
end

local function discriminator(tree, r, context)
    local sub = r:sized()
    local item, text = show(tree, F.epd, sub)
    profile_of(context, sub).discriminator(sub, item)
    return text
end

local function certificate(tree, sub, context)
    local item, text = show(tree, F.certificate, sub)
    profile_of(context, sub).certificate(sub, item)
    return text
end

-- A Session Key Component, and the signature that is the rest of the chunk: how a line tells them, and the component.
local function keying(tree, r, context, from)
    local sub = r:sized()
    local profile = profile_of(context, sub)
    local item, text = show(tree, F.component, sub)
    profile.component(sub, item, from)
    local rest = r:rest()
    local signature, signature_text = show(tree, F.signature, rest)
    profile.signature(rest, signature)
    return ("component=%s signature=%s"):format(text, signature_text), sub:raw()
end

local function session_id(tree, r)
    local id, range = r:u32()
    tree:add(F.keying_sid, range)
    return id, ("sid=%08x"):format(id)
end

local function sized(tree, field, r)
    local _, text = show(tree, field, r:sized())
    return text
end

local function rest(tree, field, r)
    local _, text = show(tree, field, r:rest())
    return text
end

-- §2.3.1.
chunks[0x7f] = function(r, tree, context)
    local flags, at = r:u8()
    tree:add(F.more_fragments, at)
    local id, number = vlu(tree, F.packet_id, r), vlu(tree, F.fragment_number, r)
    local length = r:left()
    if length == 0 then
        reader.malformed()
    end
    local more = flags >= 128
    context.fragment(tree, tostring(id), number:tonumber(), more, r:raw())
    rest(tree, F.fragment, r)
    return ("PacketFragment packet=%s fragment=%s%s %dB"):format(id, number, more and " more" or "", length)
end

-- §2.3.2.
chunks[0x30] = function(r, tree, context)
    local epd = discriminator(tree, r, context)
    return ("InitiatorHello epd=%s tag=%s"):format(epd, rest(tree, F.tag, r))
end

-- §2.3.3.
chunks[0x0f] = function(r, tree, context)
    local epd, reply = discriminator(tree, r, context), address(tree, r)
    return ("ForwardedHello epd=%s reply=%s tag=%s"):format(epd, reply, rest(tree, F.tag, r))
end

-- §2.3.4.
chunks[0x70] = function(r, tree, context)
    local tag, cookie = sized(tree, F.tag, r), sized(tree, F.cookie, r)
    return ("ResponderHello tag=%s cookie=%s certificate=%s"):format(tag, cookie, certificate(tree, r:rest(), context))
end

-- §2.3.5.
chunks[0x71] = function(r, tree, context)
    local line = { "Redirect tag=" .. sized(tree, F.tag, r) }
    if r:left() == 0 then
        line[2] = " implied"
    end
    while r:left() > 0 do
        if not context.list() then
            line[#line + 1] = MORE
            break
        end
        line[#line + 1] = " " .. address(tree, r)
    end
    return table.concat(line)
end

-- §2.3.6.
chunks[0x79] = function(r, tree)
    local old = sized(tree, F.cookie, r)
    return ("CookieChange old=%s new=%s"):format(old, rest(tree, F.new_cookie, r))
end

-- §2.3.7.
chunks[0x38] = function(r, tree, context)
    local _, sid = session_id(tree, r)
    local cookie, cert = sized(tree, F.cookie, r), certificate(tree, r:sized(), context)
    return ("InitiatorKeying %s cookie=%s certificate=%s %s"):format(sid, cookie, cert, (keying(tree, r, context, "I")))
end

-- §2.3.8.
chunks[0x78] = function(r, tree, context)
    local id, sid = session_id(tree, r)
    local text, skrc = keying(tree, r, context, "R")
    context.keying(id, skrc)
    return ("ResponderKeying %s %s"):format(sid, text)
end

-- §2.3.9, §2.3.10.
chunks[0x01] = function(r, tree) return "Ping " .. rest(tree, F.message, r) end
chunks[0x41] = function(r, tree) return "PingReply " .. rest(tree, F.message, r) end

-- One option of §2.3.11.1, whose type is read already.
local function option(tree, sub, kind, at, context, flow)
    local length, value = sub:left(), kind:higher() == 0 and kind:lower() or -1
    tree:add(F.option_type, at, kind)
    if value == 0x00 then
        context.metadata(flow, sub:raw())
        local item = show(tree, F.metadata, sub)
        rtmp.metadata(sub, item)
    elseif value == 0x0a then
        -- What is no VLU makes the flow unacceptable, not the chunk malformed.
        if not reader.try(vlu, tree, F.association, sub) then
            show(tree, F.option_value, sub)
        end
    else
        show(tree, F.option_value, sub)
    end
    local digits = value >= 0 and ("%02x"):format(value) or ("%x%08x"):format(kind:higher(), kind:lower())
    return (" option=0x%s:%dB"):format(digits, length)
end

-- The option list of §2.1.4.
local function option_list(tree, r, context, flow)
    local line, all = {}, true
    while true do
        local sub = r:sized()
        if sub:left() == 0 then
            return table.concat(line)
        end
        local kind, at = sub:vlu()
        -- The others are read too: the data begins behind them.
        local shown = all and context.list()
        if shown then
            line[#line + 1] = option(tree, sub, kind, at, context, flow)
        elseif all then
            all, line[#line + 1] = false, MORE
        end
    end
end

local CONTROLS = { [0] = "whole", "begin", "end", "middle" }

-- The flags that both kinds of user data begin with.
local function fragment_flags(tree, r)
    local flags, at = r:u8()
    for _, field in ipairs({ F.options_present, F.control, F.abandon, F.final }) do
        tree:add(field, at)
    end
    return { options = flags >= 128, control = math.floor(flags / 16) % 4, abandon = flags % 4 >= 2, final = flags % 2 == 1 }
end

-- All that follows the numbers.
local function fragment(tree, r, context, flags)
    local current = context.user_data
    local options = flags.options and option_list(tree, r, context, current and current.flow) or ""
    local length = r:left()
    if current and flags.control <= 1 and not flags.abandon and rtmp.is_rtmp(context.metadata(current.flow) or "") then
        rtmp.rtmp(reader.new(r.tvb, r.at, length), tree)
    end
    rest(tree, F.data, r)
    return (" %s%s%s%s %dB"):format(CONTROLS[flags.control], flags.abandon and " abandon" or "",
        flags.final and " final" or "", options, length)
end

-- §2.3.11.
chunks[0x10] = function(r, tree, context)
    context.user_data = nil
    local flags = fragment_flags(tree, r)
    local flow, seq, offset = vlu(tree, F.flow, r), vlu(tree, F.seq, r), vlu(tree, F.fsn_offset, r)
    local none = UInt64.new(0, 0)
    if seq == none or offset > seq or (offset == none and not flags.abandon) then
        reader.malformed()
    end
    local fsn = seq - offset
    generated(tree, F.fsn, fsn)
    context.user_data = { flow = flow, seq = seq, fsn = fsn }
    local line = fragment(tree, r, context, flags)
    return ("UserData flow=%s seq=%s fsn=%s%s"):format(flow, seq, fsn, line)
end

-- §2.3.12: the same flow and Forward Sequence Number as the last, and the next sequence number.
chunks[0x11] = function(r, tree, context)
    local current = context.user_data
    context.user_data = nil
    local flags = fragment_flags(tree, r)
    if current then
        current = { flow = current.flow, seq = current.seq + ONE, fsn = current.fsn }
        generated(tree, F.flow, current.flow)
        generated(tree, F.seq, current.seq)
        generated(tree, F.fsn, current.fsn)
    end
    context.user_data = current
    return "NextUserData" .. fragment(tree, r, context, flags)
end

-- What both acknowledgements begin with.
local function acknowledgement(name, tree, r)
    local flow, blocks, cumulative = vlu(tree, F.flow, r), vlu(tree, F.blocks, r), vlu(tree, F.cumulative, r)
    return cumulative, ("%s flow=%s blocks=%s cum=%s"):format(name, flow, blocks, cumulative)
end

local function received(tree, range, from, to)
    tree:add(F.from, range, from):set_generated()
    tree:add(F.to, range, to):set_generated()
    return from == to and " " .. tostring(from) or (" %s-%s"):format(from, to)
end

-- §2.3.13: the first bit stands for the second number above the cumulative acknowledgement.
chunks[0x50] = function(r, tree, context)
    local cumulative, beginning = acknowledgement("AckBitmap", tree, r)
    local range, length = r:range()
    if length == 0 then
        return beginning
    end
    tree:add(F.bitmap, range)
    local raw, first = r:raw(), cumulative + TWO
    local line, begun = { beginning }, nil
    for index = 0, 8 * length do
        local byte = raw:byte(math.floor(index / 8) + 1)
        local set = byte and math.floor(byte / 2 ^ (index % 8)) % 2 == 1
        if set and not begun then
            begun = index
        elseif begun and not set then
            local from, to = first + UInt64.new(begun, 0), first + UInt64.new(index - 1, 0)
            -- Numbers above 2^64 - 1 do not exist.
            if first < cumulative or from < first then
                break
            end
            if not context.list() then
                line[#line + 1] = MORE
                break
            end
            line[#line + 1] = received(tree, range, from, to < from and LARGEST or to)
            begun = nil
        end
    end
    return table.concat(line)
end

-- §2.3.14: within the ranges nothing is malformed; they end before the first that is not whole.
chunks[0x51] = function(r, tree, context)
    local last, beginning = acknowledgement("AckRanges", tree, r)
    local line = { beginning }
    while true do
        local start = r.at
        local holes = reader.try(r.vlu, r)
        local run = holes and reader.try(r.vlu, r)
        if not run then
            break
        end
        local hole = last + holes
        local from = hole + TWO
        local to = from + run
        if hole < last or from < hole or to < from then
            break
        end
        if not context.list() then
            line[#line + 1] = MORE
            break
        end
        line[#line + 1] = received(tree, r.tvb(start, r.at - start), from, to)
        last = to
    end
    return table.concat(line)
end

-- §2.3.15 to §2.3.18.
chunks[0x18] = function(r, tree) return ("BufferProbe flow=%s"):format(vlu(tree, F.flow, r)) end
chunks[0x5e] = function(r, tree)
    local flow = vlu(tree, F.flow, r)
    return ("FlowException flow=%s code=%s"):format(flow, vlu(tree, F.code, r))
end
chunks[0x0c] = function() return "Close" end
chunks[0x4c] = function() return "CloseAck" end

-- Outside of RFC 7016: how many packets arrived with a congestion mark.
chunks[0xec] = function(r, tree)
    local count, at = r:u8()
    tree:add(F.ce, at)
    return "EcnReport ce=" .. count
end

chunks[0x00] = function() return "Padding" end
chunks[0xff] = chunks[0x00]

return chunks
