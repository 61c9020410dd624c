-- What HAProxy's own rules cannot do: ask other servers about a request, copy it, check apr1 and SHA passwords, count bodies.
-- Loaded once per thread; every function fails closed, because HAProxy goes on with the next rule after an error.

local users = Map.new("pages/users.map", Map._str)
local SOCKETS = os.getenv("FAIRWAY_SOCKETS")
local INNER, AGAIN = SOCKETS .. "inner.sock", SOCKETS .. "again.sock"
local TIMEOUT_MS = 60000
local CACHE_ENTRIES_MAX = 10000
local HOP_BY_HOP = {
  ["connection"] = true, ["keep-alive"] = true, ["transfer-encoding"] = true, ["content-length"] = true,
  ["upgrade"] = true, ["te"] = true, ["trailer"] = true, ["proxy-connection"] = true, ["expect"] = true,
}

local function words(text)
  local found = {}
  if text ~= "-" then
    for word in string.gmatch(text, "[^,]+") do found[#found + 1] = word end
  end
  return found
end

-- The client's headers as a table of lists, without those that belong to one connection or announce a body.
local function request_headers(txn)
  local found = {}
  for name, values in pairs(txn.http:req_get_headers()) do
    if not HOP_BY_HOP[name] then
      local list = {}
      for index = 0, #values do list[#list + 1] = values[index] end
      found[name] = list
    end
  end
  return found
end

-- Send a request the way the configuration says: a backend of the edge, the edge itself, or a name.
local function send(way, method, url, headers, body)
  local request = { url = url, headers = headers, body = body, timeout = TIMEOUT_MS }
  if way == "again" then
    request.dst = AGAIN
  elseif way ~= "-" then
    request.dst = INNER
    headers["x-fairway-backend"] = { way }
  end
  -- Towards the edge itself there is no TLS: it is one process.
  if way ~= "-" then request.url = string.gsub(url, "^https://", "http://") end
  if not headers["host"] then headers["host"] = { (string.match(url, "^%a+://([^/?#]+)")) } end
  local client = core.httpclient()
  local call = client[string.lower(method)] or client.get
  return call(client, request)
end

local function reply_with(txn, status, response, extra)
  local reply = txn:reply()
  reply:set_status(status)
  for name, values in pairs(response and response.headers or {}) do
    if not HOP_BY_HOP[name] then
      for index = 0, #values do
        if values[index] then reply:add_header(name, values[index]) end
      end
    end
  end
  for name, value in pairs(extra or {}) do reply:add_header(name, value) end
  if response and response.body then reply:set_body(response.body) end
  txn:done(reply)
end

-- auth-url ------------------------------------------------------------------------------------------------------------

local cache, cache_size = {}, 0

local function cached(key)
  local entry = key and cache[key]
  if entry and entry.expires > core.now().sec then return entry end
  return nil
end

local function remember(key, entry, seconds)
  if cache_size >= CACHE_ENTRIES_MAX then cache, cache_size = {}, 0 end
  if not cache[key] then cache_size = cache_size + 1 end
  entry.expires = core.now().sec + seconds
  cache[key] = entry
end

local function ask(txn, url, method, way, names)
  local headers = request_headers(txn)
  local host = txn.sf:req_hdr("X-Forwarded-Host")
  headers["x-original-url"] = { txn.sf:req_hdr("X-Forwarded-Proto") .. "://" .. host .. txn:get_var("txn.sent") }
  headers["x-original-method"] = { txn.sf:method() }
  headers["x-sent-from"] = { "nginx-ingress-controller" }
  headers["x-auth-request-redirect"] = { txn:get_var("txn.sent") }
  headers["x-original-forwarded-for"] = nil
  headers["host"] = nil
  for index, name in ipairs(words(names)) do
    headers[string.lower(name)] = { txn:get_var("txn.auth_header" .. (index - 1)) or "" }
  end
  return send(way, method, url, headers, nil)
end

local function let_in(txn, headers, copied)
  for _, name in ipairs(words(copied)) do
    local values = headers[string.lower(name)]
    txn.http:req_del_header(name)
    if values then txn.http:req_set_header(name, values[0]) end
  end
  local cookie = headers["set-cookie"]
  if cookie then txn:set_var("txn.auth_cookie", cookie[0]) end
  txn:set_var("txn.auth_status", 200)
end

core.register_action("fairway_auth", { "http-req" }, function(txn, method, way, copied, names, kept, signin)
  txn:set_var("txn.auth_status", 0)
  local url, key = txn:get_var("txn.auth_url"), nil
  if kept ~= "-" then key = url .. "\n" .. (txn:get_var("txn.auth_key") or "") end
  local entry = cached(key)
  if not entry then
    local response = ask(txn, url, method, way, names)
    entry = { status = response and response.status or 0, headers = response and response.headers or {},
              body = response and response.body }
    for _, pair in ipairs(words(kept)) do
      local status, seconds = string.match(pair, "(%d+):(%d+)")
      if key and tonumber(status) == entry.status then remember(key, entry, tonumber(seconds)) end
    end
  end
  if entry.status >= 200 and entry.status < 300 then return let_in(txn, entry.headers, copied) end
  if entry.status == 401 and signin == "signin" then
    txn:set_var("txn.auth_status", 401)
  elseif entry.status == 401 or entry.status == 403 then
    reply_with(txn, entry.status, entry)
  else
    reply_with(txn, 500)
  end
end, 6)

-- mirror-target -------------------------------------------------------------------------------------------------------

core.register_action("fairway_mirror", { "http-req" }, function(txn, way, body)
  if txn.sf:so_name() == "again" then return end -- a copy of a copy would have no end
  local headers, method = request_headers(txn), txn.sf:method()
  local url, content = txn:get_var("txn.mirror_url"), nil
  if body == "body" then content = txn.sf:req_body() end
  local host = txn:get_var("txn.mirror_host")
  headers["host"] = host and { host } or nil
  core.register_task(function() send(way, method, url, headers, content) end)
end, 2)

-- custom-http-errors --------------------------------------------------------------------------------------------------

core.register_action("fairway_error", { "http-res" }, function(txn, way, about)
  local code = txn.sf:status()
  local headers = {
    ["x-code"] = { tostring(code) },
    ["x-format"] = { txn:get_var("txn.accept") or "" },
    ["x-original-uri"] = { txn:get_var("txn.sent") or "" },
    ["host"] = { "default-backend" },
  }
  for _, pair in ipairs(words(about)) do
    local name, value = string.match(pair, "([^=]+)=(.*)")
    headers[string.lower(name)] = { value }
  end
  local response = send(way, "GET", "http://default-backend/", headers, nil)
  if response and response.status and response.status > 0 then reply_with(txn, code, response) end
end, 2)

-- htpasswd hashes that crypt(3) does not know -------------------------------------------------------------------------

local SHIFTS = {
  7, 12, 17, 22, 7, 12, 17, 22, 7, 12, 17, 22, 7, 12, 17, 22, 5, 9, 14, 20, 5, 9, 14, 20, 5, 9, 14, 20, 5, 9, 14, 20,
  4, 11, 16, 23, 4, 11, 16, 23, 4, 11, 16, 23, 4, 11, 16, 23, 6, 10, 15, 21, 6, 10, 15, 21, 6, 10, 15, 21, 6, 10, 15, 21,
}
local SINES = {}
for index = 0, 63 do SINES[index] = math.floor(math.abs(math.sin(index + 1)) * 4294967296) & 0xffffffff end

local function md5(message) -- RFC 1321
  local bits = #message * 8
  message = message .. "\128" .. string.rep("\0", (55 - #message) % 64) .. string.pack("<I8", bits)
  local a0, b0, c0, d0 = 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476
  for start = 1, #message, 64 do
    local block = { string.unpack("<I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4I4", message, start) }
    local a, b, c, d = a0, b0, c0, d0
    for index = 0, 63 do
      local mixed, place
      if index < 16 then
        mixed, place = (b & c) | (~b & d), index
      elseif index < 32 then
        mixed, place = (d & b) | (~d & c), (5 * index + 1) % 16
      elseif index < 48 then
        mixed, place = b ~ c ~ d, (3 * index + 5) % 16
      else
        mixed, place = c ~ (b | (~d & 0xffffffff)), (7 * index) % 16
      end
      local sum = (a + (mixed & 0xffffffff) + SINES[index] + block[place + 1]) & 0xffffffff
      local shift = SHIFTS[index + 1]
      a, d, c, b = d, c, b, (b + ((sum << shift) | (sum >> (32 - shift)))) & 0xffffffff
    end
    a0, b0, c0, d0 = (a0 + a) & 0xffffffff, (b0 + b) & 0xffffffff, (c0 + c) & 0xffffffff, (d0 + d) & 0xffffffff
  end
  return string.pack("<I4I4I4I4", a0, b0, c0, d0)
end

local ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

local function to64(value, count)
  local found = {}
  for _ = 1, count do
    local index = (value & 63) + 1
    found[#found + 1] = string.sub(ALPHABET, index, index)
    value = value >> 6
  end
  return table.concat(found)
end

local function apr1(password, salt) -- Apache's apr_md5_encode: 1000 rounds, so others get their turn between them
  local inner = md5(password .. salt .. password)
  local text = password .. "$apr1$" .. salt
  local left = #password
  while left > 0 do
    text = text .. string.sub(inner, 1, math.min(16, left))
    left = left - 16
  end
  local length = #password
  while length > 0 do
    text = text .. ((length & 1) == 1 and "\0" or string.sub(password, 1, 1))
    length = length >> 1
  end
  local digest = md5(text)
  for round = 0, 999 do
    local part = (round & 1) == 1 and password or digest
    if round % 3 ~= 0 then part = part .. salt end
    if round % 7 ~= 0 then part = part .. password end
    digest = md5(part .. ((round & 1) == 1 and digest or password))
    if round % 100 == 99 then core.yield() end
  end
  local b = { string.byte(digest, 1, 16) }
  local groups = { { 1, 7, 13 }, { 2, 8, 14 }, { 3, 9, 15 }, { 4, 10, 16 }, { 5, 11, 6 } }
  local found = {}
  for _, group in ipairs(groups) do
    found[#found + 1] = to64((b[group[1]] << 16) | (b[group[2]] << 8) | b[group[3]], 4)
  end
  return table.concat(found) .. to64(b[12], 2)
end

local function same(one, other) -- in a time that does not tell where they differ
  if #one ~= #other then return false end
  local difference = 0
  for index = 1, #one do difference = difference | (string.byte(one, index) ~ string.byte(other, index)) end
  return difference == 0
end

core.register_action("fairway_basic", { "http-req" }, function(txn, list)
  local given = string.match(txn.sf:req_hdr("Authorization") or "", "^[Bb][Aa][Ss][Ii][Cc]%s+(%S+)$")
  local decoded = given and txn.c:b64dec(given)
  local name, password = string.match(decoded or "", "^([^:]*):(.*)$")
  if not name or #password > 256 then return end
  local hash = users:lookup(list .. "/" .. name)
  if not hash then return end
  local salt, sum = string.match(hash, "^%$apr1%$([^$]+)%$(.+)$")
  local good
  if salt then
    good = same(apr1(password, salt), sum)
  else
    good = same("{SHA}" .. txn.c:base64(txn.c:sha1(password)), hash)
  end
  if good then txn:set_var("txn.known", 1) end
end, 1)

-- proxy-body-size for bodies that do not announce their length --------------------------------------------------------

local Bound = { id = "fairway body limit", flags = filter.FLT_CFG_FL_HTX }
Bound.__index = Bound

function Bound:new() return setmetatable({ counted = 0 }, Bound) end

function Bound:http_headers(txn, message)
  if message.channel:is_resp() then return end
  self.most = txn:get_var("txn.count_to")
  if self.most then filter.register_data_filter(self, message.channel) end
end

function Bound:http_payload(txn, message)
  self.counted = self.counted + message:input()
  if self.counted <= self.most then return end
  txn:set_var("txn.too_large", true)
  error("a body is larger than the limit", 0) -- the one way to end both sides: neither takes what came for a whole body
end

core.register_filter("fairway_bound", Bound, function(bound) return bound end)
