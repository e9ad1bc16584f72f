-- AES-GCM (NIST SP 800-38D) with nonces of 12 bytes and no associated data.

local bits, aes = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(bits) ~= "table" then
    return
end
local band, bxor, rshift = bits.band, bits.bxor, bits.rshift
local words_at, unwords = bits.words, bits.unwords

local gcm = {}

-- An element times x (§6.3): the first bit of the first word is the coefficient of 1.
local function times_x(a, b, c, d)
    local folded = d % 2 == 1 and 0xe1000000 or 0
    return bxor(rshift(a, 1), folded), rshift(b, 1) + a % 2 * 2147483648, rshift(c, 1) + b % 2 * 2147483648,
        rshift(d, 1) + c % 2 * 2147483648
end

-- What each value of each of the 32 half bytes of an element contributes to its product with H: the word `w` of that of
-- the value `v` of half byte `n` is at tables[w][16 * n + v].
local function product_tables(a, b, c, d)
    local tables = { {}, {}, {}, {} }
    for base = 0, 511, 16 do
        for _, t in ipairs(tables) do
            t[base] = 0
        end
        for _, bit in ipairs({ 8, 4, 2, 1 }) do
            for w, value in ipairs({ a, b, c, d }) do
                tables[w][base + bit] = value
            end
            a, b, c, d = times_x(a, b, c, d)
        end
        for value = 3, 15 do
            -- Its highest bit, and the rest of it, which is smaller.
            local high = value >= 8 and 8 or value >= 4 and 4 or 2
            for _, t in ipairs(tables) do
                t[base + value] = bxor(t[base + high], t[base + value - high])
            end
        end
    end
    return tables
end

-- Adds what a word contributes, whose first half byte has its values at `base`.
local function add_products(t, base, w, a, b, c, d)
    local i1, i2 = base + rshift(w, 28), base + 16 + band(rshift(w, 24), 15)
    local i3, i4 = base + 32 + band(rshift(w, 20), 15), base + 48 + band(rshift(w, 16), 15)
    local i5, i6 = base + 64 + band(rshift(w, 12), 15), base + 80 + band(rshift(w, 8), 15)
    local i7, i8 = base + 96 + band(rshift(w, 4), 15), base + 112 + band(w, 15)
    local t1, t2, t3, t4 = t[1], t[2], t[3], t[4]
    return bxor(a, t1[i1], t1[i2], t1[i3], t1[i4], t1[i5], t1[i6], t1[i7], t1[i8]),
        bxor(b, t2[i1], t2[i2], t2[i3], t2[i4], t2[i5], t2[i6], t2[i7], t2[i8]),
        bxor(c, t3[i1], t3[i2], t3[i3], t3[i4], t3[i5], t3[i6], t3[i7], t3[i8]),
        bxor(d, t4[i1], t4[i2], t4[i3], t4[i4], t4[i5], t4[i6], t4[i7], t4[i8])
end

-- The element times H.
local function times_h(tables, w1, w2, w3, w4)
    local a, b, c, d = add_products(tables, 0, w1, 0, 0, 0, 0)
    a, b, c, d = add_products(tables, 128, w2, a, b, c, d)
    a, b, c, d = add_products(tables, 256, w3, a, b, c, d)
    return add_products(tables, 384, w4, a, b, c, d)
end

-- GHASH (§6.4) of a ciphertext, and of the lengths after it.
local function ghash(tables, sealed)
    local a, b, c, d = 0, 0, 0, 0
    for at = 1, #sealed, 16 do
        local e, f, g, h = words_at(sealed, at)
        a, b, c, d = times_h(tables, bxor(a, e), bxor(b, f), bxor(c, g), bxor(d, h))
    end
    return times_h(tables, a, b, c, bxor(d, 8 * #sealed))
end

-- What is computed of a key of 16 or 32 bytes once.
function gcm.key(key)
    local keys = aes.encryption_key(key)
    return { aes = keys, tables = product_tables(aes.encrypt(keys, 0, 0, 0, 0)) }
end

-- Decrypts (§6.5) without a look at the tag.
function gcm.decrypt(key, nonce, sealed)
    local n1, n2, n3 = words_at(nonce, 1)
    local plain, keys, encrypt = {}, key.aes, aes.encrypt
    for at = 1, #sealed, 16 do
        local a, b, c, d = words_at(sealed, at)
        local e, f, g, h = encrypt(keys, n1, n2, n3, (at - 1) / 16 + 2)
        plain[#plain + 1] = unwords(bxor(a, e), bxor(b, f), bxor(c, g), bxor(d, h))
    end
    return table.concat(plain):sub(1, #sealed)
end

-- The plaintext of a ciphertext with its tag of 16 bytes; nil if the tag is wrong.
function gcm.open(key, nonce, sealed)
    local text = sealed:sub(1, -17)
    local a, b, c, d = ghash(key.tables, text)
    local n1, n2, n3 = words_at(nonce, 1)
    local e, f, g, h = aes.encrypt(key.aes, n1, n2, n3, 1)
    if unwords(bxor(a, e), bxor(b, f), bxor(c, g), bxor(d, h)) ~= sealed:sub(-16) then
        return nil
    end
    return gcm.decrypt(key, nonce, text)
end

return gcm
