-- wrk script: POSTs the file BODY to ROUTE and prints one line of JSON when done.
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.method, wrk.body, wrk.path = "POST", file:read("*a"), os.getenv("ROUTE")
wrk.headers["Content-Type"] = "application/json"
file:close()
done = function(sum, latency)
  local e = sum.errors
  io.write(string.format('RESULT {"requests":%d,"rps":%.1f,"p50_ms":%.4f,"p99_ms":%.4f,"p999_ms":%.4f,"bad":%d}\n',
    sum.requests, sum.requests / (sum.duration / 1e6), latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency:percentile(99.9) / 1e3, e.status + e.connect + e.read + e.write + e.timeout))
end
