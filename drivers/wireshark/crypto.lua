-- What decrypting RTMFP takes: AES-128 in CBC mode, SHA-256, HMAC-SHA256 and the Internet checksum, on strings of
-- bytes. The Lua of Wireshark 4.0 offers no cipher to scripts.

local crypto = {}

-- Lua 5.2 has bit32. From 5.3 on the language has operators of its own, which older versions cannot even parse.
local bits = bit32 or load([[
    local function low(a) return a & 0xffffffff end
    return {
        band = function(a, b) return a & b end,
        bxor = function(a, b, ...)
            local x = a ~ b
            for _, c in ipairs({...}) do x = x ~ c end
            return x
        end,
        bnot = function(a) return low(~a) end,
        rshift = function(a, n) return low(a) >> n end,
        rrotate = function(a, n) a = low(a); return low(a >> n | a << (32 - n)) end,
    }
]])()
local band, bxor, bnot = bits.band, bits.bxor, bits.bnot
local rshift, rrotate = bits.rshift, bits.rrotate
local byte, char = string.byte, string.char
crypto.xor = bxor

-- The word of four bytes.
local function word(a, b, c, d)
    return a * 16777216 + b * 65536 + c * 256 + d
end

-- The four bytes of a word.
local function unword(w)
    return rshift(w, 24), band(rshift(w, 16), 255), band(rshift(w, 8), 255), band(w, 255)
end

-------------------------------------------------------------------------------------------------- AES-128 (FIPS 197)

-- The S-box and its inverse, and for decryption InvMixColumns of each S-box output, rotated for each row.
local sbox, inverse = {}, {}
local rows = { {}, {}, {}, {} }

local function double(a)
    return a < 128 and a * 2 or bxor(a * 2, 0x11b)
end

local function times(a, factor)
    local product = 0
    while factor > 0 do
        if factor % 2 == 1 then
            product = bxor(product, a)
        end
        a, factor = double(a), (factor - factor % 2) / 2
    end
    return product
end

local function make_tables()
    local p, q = 1, 1
    repeat
        -- p runs through the field by multiplication with 3, and q by division: they stay inverse to each other.
        p = bxor(p, double(p))
        q = bxor(q, q * 2 % 256)
        q = bxor(q, q * 4 % 256)
        q = bxor(q, q * 16 % 256)
        if q >= 128 then
            q = bxor(q, 9)
        end
        local turned = q * 257
        local s = bxor(q, band(bxor(rshift(turned, 7), rshift(turned, 6), rshift(turned, 5), rshift(turned, 4)), 255))
        sbox[p] = bxor(s, 0x63)
    until p == 1
    sbox[0] = 0x63
    for from = 0, 255 do
        inverse[sbox[from]] = from
    end
    for at = 0, 255 do
        local s = inverse[at]
        local column = word(times(s, 14), times(s, 9), times(s, 13), times(s, 11))
        for row = 1, 4 do
            rows[row][at] = rrotate(column, 8 * (row - 1))
        end
    end
end
make_tables()

local function mix_inversely(w)
    local a, b, c, d = unword(w)
    return bxor(rows[1][sbox[a]], rows[2][sbox[b]], rows[3][sbox[c]], rows[4][sbox[d]])
end

-- The round keys of a 16-byte key, for decryption (the equivalent inverse cipher of FIPS 197 §5.3.5).
function crypto.aes_key(key)
    local words = {}
    for at = 0, 3 do
        words[at] = word(byte(key, 4 * at + 1, 4 * at + 4))
    end
    local constant = 1
    for at = 4, 43 do
        local last = words[at - 1]
        if at % 4 == 0 then
            local a, b, c, d = unword(last)
            last = word(bxor(sbox[b], constant), sbox[c], sbox[d], sbox[a])
            constant = double(constant)
        end
        words[at] = bxor(words[at - 4], last)
    end
    for at = 4, 39 do
        words[at] = mix_inversely(words[at])
    end
    return words
end

-- One block, as words.
local function decrypt(keys, a, b, c, d)
    local r1, r2, r3, r4 = rows[1], rows[2], rows[3], rows[4]
    a, b, c, d = bxor(a, keys[40]), bxor(b, keys[41]), bxor(c, keys[42]), bxor(d, keys[43])
    for at = 36, 4, -4 do
        a, b, c, d =
            bxor(r1[rshift(a, 24)], r2[band(rshift(d, 16), 255)], r3[band(rshift(c, 8), 255)], r4[band(b, 255)], keys[at]),
            bxor(r1[rshift(b, 24)], r2[band(rshift(a, 16), 255)], r3[band(rshift(d, 8), 255)], r4[band(c, 255)], keys[at + 1]),
            bxor(r1[rshift(c, 24)], r2[band(rshift(b, 16), 255)], r3[band(rshift(a, 8), 255)], r4[band(d, 255)], keys[at + 2]),
            bxor(r1[rshift(d, 24)], r2[band(rshift(c, 16), 255)], r3[band(rshift(b, 8), 255)], r4[band(a, 255)], keys[at + 3])
    end
    local function last(w, x, y, z, key)
        return bxor(word(inverse[rshift(w, 24)], inverse[band(rshift(x, 16), 255)], inverse[band(rshift(y, 8), 255)],
            inverse[band(z, 255)]), key)
    end
    return last(a, d, c, b, keys[0]), last(b, a, d, c, keys[1]), last(c, b, a, d, keys[2]), last(d, c, b, a, keys[3])
end

-- AES-128-CBC with an initialization vector of zeros (RFC 7425 §4.7.1), over whole blocks; at most `most` bytes of it.
function crypto.cbc_decrypt(keys, sealed, most)
    local plain = {}
    local va, vb, vc, vd = 0, 0, 0, 0
    for at = 1, math.min(#sealed, most or #sealed), 16 do
        local b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15, b16 = byte(sealed, at, at + 15)
        local a, b, c, d = word(b1, b2, b3, b4), word(b5, b6, b7, b8), word(b9, b10, b11, b12), word(b13, b14, b15, b16)
        local pa, pb, pc, pd = decrypt(keys, a, b, c, d)
        pa, pb, pc, pd = bxor(pa, va), bxor(pb, vb), bxor(pc, vc), bxor(pd, vd)
        va, vb, vc, vd = a, b, c, d
        plain[#plain + 1] = char(unword(pa)) .. char(unword(pb)) .. char(unword(pc)) .. char(unword(pd))
    end
    return table.concat(plain)
end

------------------------------------------------------------------------------------------------ SHA-256 (FIPS 180-4)

-- The first 32 bits of the fractional part of the square or cube roots of the first primes.
local function root_fractions(count, power)
    local found, candidate = {}, 2
    while #found < count do
        local prime = true
        for divisor = 2, math.floor(candidate ^ 0.5) do
            if candidate % divisor == 0 then
                prime = false
                break
            end
        end
        if prime then
            local root = candidate ^ power
            found[#found + 1] = math.floor((root - math.floor(root)) * 4294967296)
        end
        candidate = candidate + 1
    end
    return found
end
local start, constants = root_fractions(8, 1 / 2), root_fractions(64, 1 / 3)

local function mix_in(state, block, at)
    local w = {}
    for t = 1, 16 do
        w[t] = word(byte(block, at + 4 * t - 4, at + 4 * t - 1))
    end
    for t = 17, 64 do
        local x, y = w[t - 15], w[t - 2]
        local s0 = bxor(rrotate(x, 7), rrotate(x, 18), rshift(x, 3))
        local s1 = bxor(rrotate(y, 17), rrotate(y, 19), rshift(y, 10))
        w[t] = (w[t - 16] + s0 + w[t - 7] + s1) % 4294967296
    end
    local a, b, c, d, e, f, g, h = table.unpack(state)
    for t = 1, 64 do
        local s1 = bxor(rrotate(e, 6), rrotate(e, 11), rrotate(e, 25))
        local choice = bxor(band(e, f), band(bnot(e), g))
        local t1 = h + s1 + choice + constants[t] + w[t]
        local s0 = bxor(rrotate(a, 2), rrotate(a, 13), rrotate(a, 22))
        local majority = bxor(band(a, b), band(a, c), band(b, c))
        h, g, f, e = g, f, e, (d + t1) % 4294967296
        d, c, b, a = c, b, a, (t1 + s0 + majority) % 4294967296
    end
    for index, value in ipairs({ a, b, c, d, e, f, g, h }) do
        state[index] = (state[index] + value) % 4294967296
    end
end

-- The 32 bytes of SHA-256.
function crypto.sha256(message)
    local bits_low = #message * 8
    local padding = "\128" .. ("\0"):rep((55 - #message) % 64)
    local length = ("\0"):rep(4) .. char(unword(bits_low))
    local padded = message .. padding .. length
    local state = { table.unpack(start) }
    for at = 1, #padded, 64 do
        mix_in(state, padded, at)
    end
    local digest = {}
    for index, value in ipairs(state) do
        digest[index] = char(unword(value))
    end
    return table.concat(digest)
end

local function masked(key, mask)
    return (key:gsub(".", function(c) return char(bxor(byte(c), mask)) end))
end

-- HMAC-SHA256 (RFC 2104).
function crypto.hmac_sha256(key, message)
    if #key > 64 then
        key = crypto.sha256(key)
    end
    key = key .. ("\0"):rep(64 - #key)
    return crypto.sha256(masked(key, 0x5c) .. crypto.sha256(masked(key, 0x36) .. message))
end

-------------------------------------------------------------------------------------------------- Internet checksum

-- RFC 1071, as RFC 7425 §4.7.3.1 has it: a last odd byte counts as the lower half of a word.
function crypto.checksum(bytes)
    local sum = 0
    for at = 1, #bytes - 1, 2 do
        local high, low = byte(bytes, at, at + 1)
        sum = sum + high * 256 + low
    end
    if #bytes % 2 == 1 then
        sum = sum + byte(bytes, #bytes)
    end
    while sum > 65535 do
        sum = sum % 65536 + (sum - sum % 65536) / 65536
    end
    return 65535 - sum
end

return crypto
