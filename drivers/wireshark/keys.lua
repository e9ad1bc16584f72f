-- Which key opens a packet: the Default Session Key (RFC 7425 §4.1), or one of the key log, found by the session ID
-- that the packet names. Session IDs are learnt from Responder Initial Keying (RFC 7016 §2.3.8): its packet goes to the
-- initiator's ID, and its payload has the responder's.

local crypto = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(crypto) ~= "table" then
    return
end

local keys = {
    -- Where the key log is, and whether HMACs are checked.
    file = "",
    check_hmac = true,
}

-- Packets to an unknown session ID that are tried with every key of the log, before the ID is given up.
local MOST_TRIALS = 8
-- Unknown session IDs that are remembered.
local MOST_UNKNOWN = 65536
-- Directions that a session ID stands for: two, but for IDs that are used again, and for forged keyings.
local MOST_DIRECTIONS = 16

local default = { key = crypto.aes_key("Adobe Systems 02"), hmac_length = 0 }

-- Sessions of the key log by the digest of their responder component, and in order.
local sessions, order
-- How much of the file was read, and why it could not be.
local read_to, problem
-- Directions that a session ID stands for: lists of { digest, from }, `from` being "I" or "R"; `proved` is true once one
-- has opened a packet. Each is by its name in its list too.
local known
-- How often a session ID was tried with all keys, and how many there were.
local trials, trial_count

function keys.reset()
    sessions, order, read_to, problem = {}, {}, 0, nil
    known, trials, trial_count = {}, {}, 0
end
keys.reset()

local function from_hex(text)
    return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function direction(key, hmac, sequence)
    local length, hmac_key = hmac:match("^(%d+):(%x+)$")
    if #key ~= 32 or key:find("%X") or not (hmac == "-" or (length and #hmac_key == 64)) then
        return nil
    end
    return {
        key = crypto.aes_key(from_hex(key)),
        hmac_length = tonumber(length or 0),
        hmac_key = hmac_key and from_hex(hmac_key),
        sequence = sequence == "seq",
    }
end

-- RTMFP_SESSION <session> I <key> <hmac> <sequence> R <key> <hmac> <sequence>
local function read_line(line)
    local digest, ik, ih, is, rk, rh, rs =
        line:match("^RTMFP_SESSION (%x+) I (%x+) (%S+) (%S+) R (%x+) (%S+) (%S+)%s*$")
    if not digest or #digest ~= 64 then
        return
    end
    local session = { digest = from_hex(digest), I = direction(ik, ih, is), R = direction(rk, rh, rs) }
    if session.I and session.R and not sessions[session.digest] then
        sessions[session.digest] = session
        order[#order + 1] = session
    end
end

-- Reads what the file has gained: a program may still be writing it.
local function refresh()
    if keys.file == "" then
        return
    end
    local file, why = io.open(keys.file, "rb")
    if not file then
        problem = why
        return
    end
    problem = nil
    file:seek("set", read_to)
    local text = file:read("*a") or ""
    file:close()
    -- A last line without its end is read when it has one.
    local whole = text:match("^.*\n") or ""
    read_to = read_to + #whole
    for line in whole:gmatch("[^\n]+") do
        read_line(line)
    end
end

local function vlu(text, at)
    local from = at
    repeat
        local digit = text:byte(at)
        at = at + 1
    until not digit or digit < 128
    return at <= #text + 1 and at - from or nil
end

-- Opens an encrypted packet (RFC 7425 §4.7.2) with the keys of one direction. Returns nil and what failed, or a table:
-- `plain` is all that was in the cipher blocks, of which `front` bytes come before the plain packet.
local function open(with, sealed)
    local length = #sealed - with.hmac_length
    if length < 16 or length % 16 ~= 0 then
        return nil, "its length does not fit"
    end
    local blocks = sealed:sub(1, length)
    if with.hmac_key and keys.check_hmac then
        local code = crypto.hmac_sha256(with.hmac_key, blocks):sub(1, with.hmac_length)
        if code ~= sealed:sub(length + 1) then
            return nil, "it fails the HMAC check (RFC 7425 §4.7.3.2)"
        end
    end
    local plain = crypto.cbc_decrypt(with.key, blocks)
    local opened = { plain = plain, front = 0, hmac_length = with.hmac_length, hmac_checked = keys.check_hmac }
    if with.sequence then
        opened.sequence_length = vlu(plain, 1)
        if not opened.sequence_length then
            return nil, "it has no session sequence number (RFC 7425 §4.7.2)"
        end
        opened.front = opened.sequence_length
    end
    if not with.hmac_key then
        local high, low = plain:byte(opened.front + 1, opened.front + 2)
        opened.front = opened.front + 2
        if not low or crypto.checksum(plain:sub(opened.front + 1)) ~= high * 256 + low then
            return nil, "it fails the checksum (RFC 7425 §4.7.3.1)"
        end
        opened.checksum = true
    end
    return opened
end

-- The flags of the packet header (RFC 7016 §2.2.4), for which the first block is enough.
local function flags(with, sealed)
    local plain = crypto.cbc_decrypt(with.key, sealed, 16)
    local at = 1
    if with.sequence then
        at = at + (vlu(plain, 1) or 0)
    end
    return plain:byte(at + (with.hmac_key and 0 or 2)) or 0
end

-- Whether a packet can be one of a session under this key, which is quickly seen for most wrong keys: its mode is 1 or
-- 2, and it has no reserved bits.
local function plausible(with, sealed)
    if #sealed < 16 then
        return false
    end
    local seen = flags(with, sealed)
    return (seen % 4 == 1 or seen % 4 == 2) and seen % 64 < 16
end

-- A session ID stands for packets that the initiator ("I") or the responder ("R") sends in this session.
local function learn(id, digest, from)
    local list = known[id] or {}
    known[id] = list
    local name = from .. digest
    if list[name] then
        return list[name]
    end
    -- Anybody can forge a keying: what has opened no packet goes first, and the oldest of that.
    if #list >= MOST_DIRECTIONS then
        local oldest = 1
        for place, entry in ipairs(list) do
            if not entry.proved then
                oldest = place
                break
            end
        end
        list[table.remove(list, oldest).name] = nil
    end
    local entry = { digest = digest, from = from, name = name }
    list[#list + 1], list[name] = entry, entry
    return entry
end

-- A Responder Initial Keying went to the initiator's session ID, and tells the responder's.
function keys.keying(initiator_id, responder_id, component)
    local digest = crypto.sha256(component)
    learn(initiator_id, digest, "R")
    learn(responder_id, digest, "I")
end

-- Whether a session ID was seen in a keying, or opened a packet.
function keys.knows(id)
    return known[id] ~= nil
end

-- Tries every key of the log on a packet whose handshake is not in the capture.
local function try_all(id, sealed)
    local tried = trials[id]
    if not tried then
        -- Packets of other protocols have session IDs by chance, of which not all are remembered.
        if trial_count >= MOST_UNKNOWN then
            trials, trial_count = {}, 0
        end
        tried = { count = 0, keys = 0 }
        trials[id], trial_count = tried, trial_count + 1
    end
    if tried.keys ~= #order then
        tried.keys, tried.count = #order, 0
    end
    if tried.count >= MOST_TRIALS then
        return nil
    end
    tried.count = tried.count + 1
    for _, session in ipairs(order) do
        for _, from in ipairs({ "I", "R" }) do
            local opened = plausible(session[from], sealed) and open(session[from], sealed)
            -- Without a check that tells right from wrong, a guess is none.
            if opened and (opened.checksum or keys.check_hmac) then
                learn(id, session.digest, from).proved = true
                opened.how, opened.from = "session key (found by trial)", from
                return opened
            end
        end
    end
    return nil
end

-- Opens a packet under the Default Session Key, if it is a startup packet.
function keys.open_startup(sealed)
    -- Only startup packets have this key, and their mode is 3 (RFC 7016 §2.2.4).
    if #sealed < 16 or flags(default, sealed) % 4 ~= 3 then
        return nil
    end
    local opened = open(default, sealed)
    if opened then
        opened.how = "Default Session Key"
    end
    return opened
end

-- Opens a packet with the keys that were learnt for its session ID. Returns nil and what failed if there are some.
function keys.open_known(id, sealed)
    refresh()
    local failed
    for _, entry in ipairs(known[id] or {}) do
        local session = sessions[entry.digest]
        if session then
            local opened, why = open(session[entry.from], sealed)
            if opened then
                entry.proved = true
                opened.how, opened.from = "session key", entry.from
                return opened
            end
            failed = failed or why
        end
    end
    return nil, failed
end

-- Opens a packet that the learnt keys did not open, because of `failed` if there were some: keyings can be forged. Returns
-- nil and why if that is not possible.
function keys.open_unknown(id, sealed, failed)
    refresh()
    local opened = #order > 0 and try_all(id, sealed)
    if opened then
        return opened
    end
    if failed then
        return nil, "The key log has keys for this session, but with them " .. failed
    end
    if keys.file == "" then
        return nil, "No key log is set (preference rtmfp.keylog, or RTMFP_KEYLOG in the environment)"
    elseif problem then
        return nil, "The key log cannot be read: " .. problem
    elseif known[id] then
        return nil, "The key log has no line for this session"
    else
        return nil, "The handshake of this session is not in the capture, and no key of the key log opens the packet"
    end
end

return keys
