import { Engine } from '../../lib/engine/engine.js';
import { Pool } from '../../lib/engine/pool.js';
import type { RequestOptions } from '../../lib/engine/request.js';
import { SimulatedRuntime, type SimulatedSearch } from './simulated.js';

/** A pool with an engine on a simulated clock, and requests to it. */
export function simulated(options: ConstructorParameters<typeof SimulatedRuntime>[0] = {}, maximumRequests = 1000) {
  const runtime = new SimulatedRuntime(options);
  const engine = new Engine(runtime, { now: runtime.now });
  const pool = new Pool([engine], { maximumRequests, now: runtime.now });
  /** The time at which each window was done. */
  const done: Record<string, number> = {};
  /** A request with some windows, one after the other. */
  const ask = async (
    name: string,
    { count = 1, search = { steps: 10 }, positions = 1500, ...options }: Asked = {},
  ): Promise<void> => {
    const request = pool.request(options);
    try {
      for (let index = 0; index < count; ++index) {
        const window = await pool
          .leastLoaded()
          .encode(request, { name: count > 1 ? `${name}${index}` : name, positions });
        try {
          await window.search(search);
          done[name] = runtime.time;
        } finally {
          window.close();
        }
      }
    } finally {
      request.close();
    }
  };
  return { runtime, engine, pool, ask, done };
}

interface Asked extends RequestOptions {
  count?: number;
  positions?: number;
  search?: SimulatedSearch;
}
