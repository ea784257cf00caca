import hashlib, itertools, json
import numpy as np
def encode(v):
    if callable(v): return {"callable": f"{v.__module__}:{v.__qualname__}"}
    if isinstance(v, tuple): return {"tuple": [encode(i) for i in v]}
    return v
def decode(v):
    if isinstance(v, dict) and "tuple" in v: return tuple(decode(i) for i in v["tuple"])
    return v
def config_id(c): return hashlib.sha256(json.dumps({k: encode(v) for k, v in c.items()}, sort_keys=True).encode()).hexdigest()[:16]
def format_value(v): return f"{v:.4g}" if isinstance(v, float) else str(v)
def grid(space): return [dict(zip(space, values)) for values in itertools.product(*space.values())]
def logspace(a, b, n): return [float(v) for v in np.geomspace(a, b, n)]
