-- wrk script: POSTs the files of BODY (several with ":" between them, in turns) to ROUTE and prints one line of JSON when
-- done. TYPE: their content type, by default JSON; HEADER: one more, as name:value.
local bodies, next_body = {}, 0
for name in os.getenv("BODY"):gmatch("[^:]+") do
  local file = assert(io.open(name, "rb"))
  bodies[#bodies + 1] = file:read("*a")
  file:close()
end
wrk.method, wrk.body, wrk.path = "POST", bodies[1], os.getenv("ROUTE")
wrk.headers["Content-Type"] = os.getenv("TYPE") or "application/json"
local name, value = (os.getenv("HEADER") or ""):match("^(.-):(.*)$")
if name then wrk.headers[name] = value end
if #bodies > 1 then
  local requests = {}
  init = function()
    for i, body in ipairs(bodies) do requests[i] = wrk.format(nil, nil, nil, body) end
  end
  request = function()
    next_body = next_body % #requests + 1
    return requests[next_body]
  end
end
done = function(sum, latency)
  local e = sum.errors
  io.write(string.format('RESULT {"requests":%d,"rps":%.1f,"p50_ms":%.4f,"p99_ms":%.4f,"p999_ms":%.4f,"bad":%d}\n',
    sum.requests, sum.requests / (sum.duration / 1e6), latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency:percentile(99.9) / 1e3, e.status + e.connect + e.read + e.write + e.timeout))
end
