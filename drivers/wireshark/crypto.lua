-- What decrypting RTMFP takes, on strings of bytes. The Lua of Wireshark 4.0 offers no cipher to scripts.

local part = ...
-- Wireshark runs every file of a plugin's folder. By itself, this one is of no use.
if type(part) ~= "function" then
    return
end

local bits = part("bits")
local sha256, aes = part("sha256", bits), part("aes", bits)

return { bits = bits, sha256 = sha256.sha256, hmac = sha256.hmac, expand = sha256.expand, aes = aes, gcm = part("gcm", bits, aes),
    chacha = part("chacha", bits) }
