-- Encrypted packets of the modern profile: "Packets" and "Startup packets" of its specification, which is README.md in
-- core/src/profile/modern.

local crypto = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(crypto) ~= "table" then
    return
end
local bits, gcm, chacha = crypto.bits, crypto.gcm, crypto.chacha

local modern = {}

-- One direction of a session. `secrets` has the secret of each epoch up to `epoch`, and `highest` is the highest counter
-- of a packet that has opened.
local direction = {}
direction.__index = direction

-- What each label begins with.
local PREFIX = "RTMFP modern 1 "
-- Bytes of the counter and the tag.
local COUNTER, TAG = 4, 16
-- Packets of an epoch.
local EPOCH = 4194304
-- Epochs in which packets of an unknown session are looked for. Under a wrong key an epoch is a number by chance, and
-- taking the secrets there costs a quarter of a millisecond for each.
local MOST_GUESSED = 16
-- Keys of epochs that are kept.
local MOST_KEYS = 256

local function gcm_cipher(key_length)
    return {
        key_length = key_length,
        key = gcm.key,
        open = gcm.open,
        mask = function(header, sample)
            local mask = crypto.aes.encrypt(header, bits.words(sample, 1))
            return mask
        end,
        header = function(header) return crypto.aes.encryption_key(header:sub(1, 16)) end,
    }
end

local ciphers = {
    gcm_cipher(16),
    gcm_cipher(32),
    {
        key_length = 32,
        key = function(key) return key end,
        open = chacha.open,
        mask = function(header, sample)
            return bits.word(chacha.block(header, sample:sub(1, 12), 0):byte(1, 4))
        end,
        header = function(header) return header end,
    },
}

-- Keys by the secret of their epoch.
local keys, key_count = {}, 0

local function keys_of(cipher, secret)
    local found = keys[secret]
    if not found then
        -- Forged packets are of any epoch, so there may be many.
        if key_count >= MOST_KEYS then
            keys, key_count = {}, 0
        end
        found = {
            key = cipher.key(crypto.expand(secret, PREFIX .. "key", cipher.key_length)),
            iv = crypto.expand(secret, PREFIX .. "iv", 12),
        }
        keys[secret], key_count = found, key_count + 1
    end
    return found
end

-- The number with these low 32 bits that is nearest to the one after the highest counter. Before there is any, it is below
-- 2^32: of a capture that begins later, the high bits are unknown.
function direction:complete(low)
    if not self.highest then
        return low
    end
    local expected = self.highest + 1
    local ahead = (low - expected) % 4294967296
    return expected + (ahead < 2147483648 and ahead or ahead - 4294967296)
end

-- The secret of an epoch.
function direction:secret(epoch)
    while self.epoch < epoch do
        self.secrets[self.epoch + 1] = crypto.expand(self.secrets[self.epoch], PREFIX .. "next", 32)
        self.epoch = self.epoch + 1
    end
    return self.secrets[epoch]
end

-- Opens an encrypted packet of an epoch below `limit`, if there is one. Returns nil and what failed, or a table with the
-- plain packet.
function direction:open(sealed, limit)
    if #sealed < COUNTER + TAG then
        return nil, "it is shorter than counter and tag"
    end
    local mask = self.cipher.mask(self.header, sealed:sub(COUNTER + 1, COUNTER + 16))
    local counter = self:complete(bits.bxor(bits.word(sealed:byte(1, COUNTER)), mask))
    local epoch = math.floor(counter / EPOCH)
    if counter < 0 or (limit and epoch >= limit) then
        return nil, "its counter does not fit"
    end
    local with = keys_of(self.cipher, self:secret(epoch))
    local a, b, c = bits.words(with.iv, 1)
    local high, low = math.floor(counter / 4294967296), counter % 4294967296
    local nonce = bits.unwords(a, bits.bxor(b, high), bits.bxor(c, low), 0):sub(1, 12)
    local plain = self.cipher.open(with.key, nonce, sealed:sub(COUNTER + 1))
    if not plain then
        return nil, "its tag is wrong"
    end
    self.highest = math.max(self.highest or 0, counter)
    return { profile = "modern", plain = plain, front = 0, counter = counter, epoch = epoch, counter_length = COUNTER, tag_length = TAG }
end

-- Opens a packet that may be of any session.
function direction:guess(sealed)
    return (self:open(sealed, MOST_GUESSED))
end

local startup = gcm.key(crypto.sha256(PREFIX .. "startup"):sub(1, 16))
local startup_nonce = ("\0"):rep(12)

-- Opens a packet under the Default Session Key, if it is a startup packet: their mode is 3, and they have no reserved bits
-- (RFC 7016 §2.2.4). The first byte tells so of most others.
function modern.open_startup(sealed)
    local flags = gcm.decrypt(startup, startup_nonce, sealed:sub(1, 1)):byte()
    if #sealed <= TAG or flags % 4 ~= 3 or flags % 64 >= 16 then
        return nil
    end
    local plain = gcm.open(startup, startup_nonce, sealed)
    return plain and { profile = "modern", plain = plain, front = 0, counter_length = 0, tag_length = TAG }
end

-- Both directions of a line RTMFP_MODERN <session> <cipher> H <header> I <secret> R <secret>; nil if it is not that.
function modern.session(rest, from_hex)
    local number, header, initiator, responder = rest:match("^(%d+) H (%x+) I (%x+) R (%x+)$")
    local cipher = ciphers[tonumber(number)]
    if not cipher or #header ~= 64 or #initiator ~= 64 or #responder ~= 64 then
        return nil
    end
    local header_key = cipher.header(from_hex(header))
    local function new_direction(secret)
        return setmetatable({ cipher = cipher, header = header_key, secrets = { [0] = from_hex(secret) }, epoch = 0 }, direction)
    end
    return { I = new_direction(initiator), R = new_direction(responder) }
end

return modern
