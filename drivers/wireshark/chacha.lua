-- ChaCha20-Poly1305 (RFC 8439) without associated data.

local bits = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(bits) ~= "table" then
    return
end
local bxor, rrotate, word, unword = bits.bxor, bits.rrotate, bits.word, bits.unword
local byte, char = string.byte, string.char

local chacha = {}

-- The little-endian words of a text.
local function words_of(text)
    local words = {}
    for at = 1, #text, 4 do
        local a, b, c, d = byte(text, at, at + 3)
        words[#words + 1] = word(d, c, b, a)
    end
    return words
end

local function quarter(s, a, b, c, d)
    local sa, sb, sc, sd = s[a], s[b], s[c], s[d]
    sa = (sa + sb) % 4294967296
    sd = rrotate(bxor(sd, sa), 16)
    sc = (sc + sd) % 4294967296
    sb = rrotate(bxor(sb, sc), 20)
    sa = (sa + sb) % 4294967296
    sd = rrotate(bxor(sd, sa), 24)
    sc = (sc + sd) % 4294967296
    sb = rrotate(bxor(sb, sc), 25)
    s[a], s[b], s[c], s[d] = sa, sb, sc, sd
end

local constants = words_of("expand 32-byte k")

-- One block of 64 bytes of the key stream (§2.3).
function chacha.block(key, nonce, counter)
    local start = { constants[1], constants[2], constants[3], constants[4] }
    for index, value in ipairs(words_of(key)) do
        start[4 + index] = value
    end
    start[13] = counter
    for index, value in ipairs(words_of(nonce)) do
        start[13 + index] = value
    end
    local s = { table.unpack(start) }
    for _ = 1, 10 do
        quarter(s, 1, 5, 9, 13)
        quarter(s, 2, 6, 10, 14)
        quarter(s, 3, 7, 11, 15)
        quarter(s, 4, 8, 12, 16)
        quarter(s, 1, 6, 11, 16)
        quarter(s, 2, 7, 12, 13)
        quarter(s, 3, 8, 9, 14)
        quarter(s, 4, 5, 10, 15)
    end
    local block = {}
    for index = 1, 16 do
        local a, b, c, d = unword((s[index] + start[index]) % 4294967296)
        block[index] = char(d, c, b, a)
    end
    return table.concat(block)
end

-- Poly1305 (§2.5). Numbers are nine limbs of 16 bits each, the lowest first: a product of two, and what is above 2^144
-- folded down, fits into the 53 bits of a number that Lua 5.2 has.
local LIMBS = 9

local function limbs(text)
    local found = {}
    for at = 1, 17, 2 do
        found[#found + 1] = (byte(text, at) or 0) + (byte(text, at + 1) or 0) * 256
    end
    return found
end

-- Carries from each limb to the next, and what is above 2^130 to the first, five times.
local function carry(n)
    local over = 0
    for index = 1, LIMBS do
        local value = n[index] + over
        local unit = index < LIMBS and 65536 or 4
        n[index] = value % unit
        over = (value - n[index]) / unit
    end
    n[1] = n[1] + 5 * over
end

-- (n + m) * r, modulo 2^130 - 5. `folded` is r times 5 * 2^14: 2^144 is as much as 5 * 2^14.
local function add_and_multiply(n, m, r, folded)
    local product = { 0, 0, 0, 0, 0, 0, 0, 0, 0 }
    for i = 1, LIMBS do
        local value = n[i] + m[i]
        for j = 1, LIMBS - i + 1 do
            product[i + j - 1] = product[i + j - 1] + value * r[j]
        end
        for j = LIMBS - i + 2, LIMBS do
            local at = i + j - 1 - LIMBS
            product[at] = product[at] + value * folded[j]
        end
    end
    carry(product)
    return product
end

-- The 16 bytes of the tag of a message under a one-time key of 32 bytes.
function chacha.poly1305(key, message)
    local r, folded = {}, {}
    -- The bits that a multiplier never has (§2.5).
    for index, limb in ipairs(limbs(key:sub(1, 16))) do
        local low, high = limb % 256, (limb - limb % 256) / 256
        if index % 2 == 1 and index > 1 then
            low = low - low % 4
        elseif index % 2 == 0 then
            high = high % 16
        end
        r[index] = low + 256 * high
        folded[index] = r[index] * 81920
    end
    local n = { 0, 0, 0, 0, 0, 0, 0, 0, 0 }
    for at = 1, #message, 16 do
        n = add_and_multiply(n, limbs(message:sub(at, at + 15) .. "\1"), r, folded)
    end
    -- Twice, since the first limb may have got one more; then n + 5 tells whether n is 2^130 - 5 or more.
    carry(n)
    carry(n)
    local reduced = { table.unpack(n) }
    reduced[1] = reduced[1] + 5
    local over = 0
    for index = 1, LIMBS do
        local value = reduced[index] + over
        reduced[index] = value % 65536
        over = (value - reduced[index]) / 65536
    end
    if reduced[LIMBS] >= 4 then
        n = reduced
    end
    local tag, rest = {}, 0
    for index, limb in ipairs(limbs(key:sub(17, 32))) do
        if index < LIMBS then
            local value = n[index] + limb + rest
            tag[index] = char(value % 256, (value % 65536 - value % 256) / 256)
            rest = (value - value % 65536) / 65536
        end
    end
    return table.concat(tag)
end

-- The plaintext of a ciphertext with its tag of 16 bytes; nil if the tag is wrong (§2.8).
function chacha.open(key, nonce, sealed)
    local text = sealed:sub(1, -17)
    local length = #text
    local a, b, c, d = unword(length)
    local authenticated = text .. ("\0"):rep(-length % 16) .. ("\0"):rep(8) .. char(d, c, b, a) .. ("\0"):rep(4)
    if chacha.poly1305(chacha.block(key, nonce, 0):sub(1, 32), authenticated) ~= sealed:sub(-16) then
        return nil
    end
    local plain, stream = {}, nil
    for at = 1, length do
        local index = (at - 1) % 64
        if index == 0 then
            stream = chacha.block(key, nonce, (at - 1) / 64 + 1)
        end
        plain[at] = char(bxor(byte(text, at), byte(stream, index + 1)))
    end
    return table.concat(plain)
end

return chacha
