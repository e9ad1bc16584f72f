-- AES (FIPS 197): encryption with keys of 128 and 256 bits, and decryption in CBC mode with keys of 128 bits.

local bits = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(bits) ~= "table" then
    return
end
local band, bxor, rshift, rrotate = bits.band, bits.bxor, bits.rshift, bits.rrotate
local word, unword, words_at, unwords = bits.word, bits.unword, bits.words, bits.unwords

-- The S-box and its inverse; and for each row of a column, MixColumns of each S-box output, and InvMixColumns of each
-- output of the inverse.
local sbox, inverse = {}, {}
local rows, inverse_rows = { {}, {}, {}, {} }, { {}, {}, {}, {} }

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
        local s, i = sbox[at], inverse[at]
        local column = word(times(s, 2), s, s, times(s, 3))
        local inverse_column = word(times(i, 14), times(i, 9), times(i, 13), times(i, 11))
        for row = 1, 4 do
            rows[row][at] = rrotate(column, 8 * (row - 1))
            inverse_rows[row][at] = rrotate(inverse_column, 8 * (row - 1))
        end
    end
end
make_tables()

local function substituted(a, b, c, d)
    return word(sbox[a], sbox[b], sbox[c], sbox[d])
end

-- The round keys of a key of 16 or 32 bytes, for encryption (§5.2), and the place of the last four.
local function encryption_key(key)
    local words, length = {}, #key / 4
    for at = 0, length - 1, 4 do
        words[at], words[at + 1], words[at + 2], words[at + 3] = words_at(key, 4 * at + 1)
    end
    local constant, last = 1, 4 * (length + 6)
    for at = length, last + 3 do
        local turned = words[at - 1]
        local a, b, c, d = unword(turned)
        if at % length == 0 then
            turned = bxor(substituted(b, c, d, a), constant * 16777216)
            constant = double(constant)
        elseif length > 6 and at % length == 4 then
            turned = substituted(a, b, c, d)
        end
        words[at] = bxor(words[at - length], turned)
    end
    words.last = last
    return words
end

-- The same for decryption (the equivalent inverse cipher of §5.3.5).
local function decryption_key(key)
    local words = encryption_key(key)
    for at = 4, words.last - 1 do
        local a, b, c, d = unword(words[at])
        words[at] = bxor(inverse_rows[1][sbox[a]], inverse_rows[2][sbox[b]], inverse_rows[3][sbox[c]], inverse_rows[4][sbox[d]])
    end
    return words
end

-- One block, as words.
local function encrypt(keys, a, b, c, d)
    local r1, r2, r3, r4 = rows[1], rows[2], rows[3], rows[4]
    a, b, c, d = bxor(a, keys[0]), bxor(b, keys[1]), bxor(c, keys[2]), bxor(d, keys[3])
    for at = 4, keys.last - 4, 4 do
        a, b, c, d =
            bxor(r1[rshift(a, 24)], r2[band(rshift(b, 16), 255)], r3[band(rshift(c, 8), 255)], r4[band(d, 255)], keys[at]),
            bxor(r1[rshift(b, 24)], r2[band(rshift(c, 16), 255)], r3[band(rshift(d, 8), 255)], r4[band(a, 255)], keys[at + 1]),
            bxor(r1[rshift(c, 24)], r2[band(rshift(d, 16), 255)], r3[band(rshift(a, 8), 255)], r4[band(b, 255)], keys[at + 2]),
            bxor(r1[rshift(d, 24)], r2[band(rshift(a, 16), 255)], r3[band(rshift(b, 8), 255)], r4[band(c, 255)], keys[at + 3])
    end
    local function last(w, x, y, z, key)
        return bxor(substituted(rshift(w, 24), band(rshift(x, 16), 255), band(rshift(y, 8), 255), band(z, 255)), key)
    end
    local at = keys.last
    return last(a, b, c, d, keys[at]), last(b, c, d, a, keys[at + 1]), last(c, d, a, b, keys[at + 2]), last(d, a, b, c, keys[at + 3])
end

-- One block, as words.
local function decrypt(keys, a, b, c, d)
    local r1, r2, r3, r4 = inverse_rows[1], inverse_rows[2], inverse_rows[3], inverse_rows[4]
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
local function cbc_decrypt(keys, sealed, most)
    local plain = {}
    local va, vb, vc, vd = 0, 0, 0, 0
    for at = 1, math.min(#sealed, most or #sealed), 16 do
        local a, b, c, d = words_at(sealed, at)
        local pa, pb, pc, pd = decrypt(keys, a, b, c, d)
        plain[#plain + 1] = unwords(bxor(pa, va), bxor(pb, vb), bxor(pc, vc), bxor(pd, vd))
        va, vb, vc, vd = a, b, c, d
    end
    return table.concat(plain)
end

return { encryption_key = encryption_key, encrypt = encrypt, decryption_key = decryption_key, cbc_decrypt = cbc_decrypt }
