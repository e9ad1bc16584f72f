-- Encrypted packets of the Flash profile (RFC 7425 §4.7).

local crypto = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(crypto) ~= "table" then
    return
end

-- Whether HMACs are checked.
local flash = { check_hmac = true }

-- One direction of a session.
local direction = {}
direction.__index = direction

-- RFC 1071, as RFC 7425 §4.7.3.1 has it: a last odd byte counts as the lower half of a word.
function flash.checksum(bytes)
    local sum = 0
    for at = 1, #bytes - 1, 2 do
        local high, low = bytes:byte(at, at + 1)
        sum = sum + high * 256 + low
    end
    if #bytes % 2 == 1 then
        sum = sum + bytes:byte(#bytes)
    end
    while sum > 65535 do
        sum = sum % 65536 + (sum - sum % 65536) / 65536
    end
    return 65535 - sum
end

local function vlu(text, at)
    local from = at
    repeat
        local digit = text:byte(at)
        at = at + 1
    until not digit or digit < 128
    return at <= #text + 1 and at - from or nil
end

-- Opens an encrypted packet (§4.7.2). Returns nil and what failed, or a table: `plain` is all that was in the cipher
-- blocks, of which `front` bytes come before the plain packet.
function direction:open(sealed)
    local length = #sealed - self.hmac_length
    if length < 16 or length % 16 ~= 0 then
        return nil, "its length does not fit"
    end
    local blocks = sealed:sub(1, length)
    if self.hmac_key and flash.check_hmac then
        local code = crypto.hmac(self.hmac_key, blocks):sub(1, self.hmac_length)
        if code ~= sealed:sub(length + 1) then
            return nil, "it fails the HMAC check (RFC 7425 §4.7.3.2)"
        end
    end
    local plain = crypto.aes.cbc_decrypt(self.key, blocks)
    local opened = { profile = "flash", plain = plain, front = 0, hmac_length = self.hmac_length, hmac_checked = flash.check_hmac }
    if self.sequence then
        opened.sequence_length = vlu(plain, 1)
        if not opened.sequence_length then
            return nil, "it has no session sequence number (RFC 7425 §4.7.2)"
        end
        opened.front = opened.sequence_length
    end
    if not self.hmac_key then
        local high, low = plain:byte(opened.front + 1, opened.front + 2)
        opened.front = opened.front + 2
        if not low or flash.checksum(plain:sub(opened.front + 1)) ~= high * 256 + low then
            return nil, "it fails the checksum (RFC 7425 §4.7.3.1)"
        end
        opened.checksum = true
    end
    return opened
end

-- The flags of the packet header (RFC 7016 §2.2.4), for which the first block is enough; none if that is not there.
function direction:flags(sealed)
    if #sealed < 16 then
        return nil
    end
    local plain = crypto.aes.cbc_decrypt(self.key, sealed, 16)
    local at = 1
    if self.sequence then
        at = at + (vlu(plain, 1) or 0)
    end
    return plain:byte(at + (self.hmac_key and 0 or 2))
end

-- Opens a packet that may be of any session. That most are not is quickly seen: the mode of this one would be 1 or 2, and
-- it would have no reserved bits.
function direction:guess(sealed)
    local flags = self:flags(sealed)
    if not flags or not (flags % 4 == 1 or flags % 4 == 2) or flags % 64 >= 16 then
        return nil
    end
    local opened = self:open(sealed)
    -- Without a check that tells right from wrong, a guess is none.
    return opened and (opened.checksum or flash.check_hmac) and opened or nil
end

local default = setmetatable({ key = crypto.aes.decryption_key("Adobe Systems 02"), hmac_length = 0 }, direction)

-- Opens a packet under the Default Session Key (§4.1), if it is a startup packet: their mode is 3 (RFC 7016 §2.2.4).
function flash.open_startup(sealed)
    local flags = default:flags(sealed)
    return flags and flags % 4 == 3 and default:open(sealed) or nil
end

local function new_direction(key, hmac, sequence, from_hex)
    local length, hmac_key = hmac:match("^(%d+):(%x+)$")
    if #key ~= 32 or not (hmac == "-" or (length and #hmac_key == 64)) then
        return nil
    end
    return setmetatable({
        key = crypto.aes.decryption_key(from_hex(key)),
        hmac_length = tonumber(length or 0),
        hmac_key = hmac_key and from_hex(hmac_key),
        sequence = sequence == "seq",
    }, direction)
end

-- Both directions of a line RTMFP_SESSION <session> I <key> <hmac> <sequence> R <key> <hmac> <sequence>; nil if it is not
-- that.
function flash.session(rest, from_hex)
    local ik, ih, is, rk, rh, rs = rest:match("^I (%x+) (%S+) (%S+) R (%x+) (%S+) (%S+)$")
    if not ik then
        return nil
    end
    local session = { I = new_direction(ik, ih, is, from_hex), R = new_direction(rk, rh, rs, from_hex) }
    return session.I and session.R and session or nil
end

return flash
