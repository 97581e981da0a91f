/** The admin API over real HTTP, with real accounts on a real Redis; what belongs to other rooms is answered by plain functions. */
import { pino } from 'pino'
import type { Test } from 'tap'
import { startAdminApi } from '../../src/admin/api.js'
import type { HttpService } from '../../src/admin/http.js'
import type { AdminServices } from '../../src/admin/services.js'
import type { NewBucket } from '../../src/balance/types.js'
import { systemClock } from '../../src/clock.js'
import { units } from '../../src/units.js'
import { startStore, type TestStore } from './store.js'

export const token = 'a-token-of-thirty-two-characters-x'

export interface TestAdmin {
  readonly api: HttpService
  /** Lines of the log from level error on. */
  readonly errors: string[]
  readonly url: string
  readonly store: TestStore
  readonly recharged: string[]
  request(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>
}

export interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

const bucket = (now: number): NewBucket => ({
  name: 'data-5gb',
  unit: 'octets',
  amount: units(5_000_000_000n),
  priority: 10,
  until: now + 30 * 24 * 3_600_000,
  origin: 'bundle-5gb',
})

export async function startAdmin(t: Test, changes: Partial<AdminServices> = {}): Promise<TestAdmin> {
  const store = await startStore(t)
  const recharged: string[] = []
  const errors: string[] = []
  const services: AdminServices = {
    accounts: store.accounts,
    newBuckets: (offer, now) => (offer === 'payg' ? [] : offer === 'bundle-5gb' ? [bucket(now)] : undefined),
    catalog: () => ({
      version: '3f2a',
      currency: 'EUR',
      offers: [
        { name: 'bundle-5gb', rank: 10, buckets: ['data-5gb'] },
        { name: 'payg', rank: 100, buckets: [] },
      ],
    }),
    reload: () => Promise.resolve({ status: 'loaded', version: '4b5c', warnings: [] }),
    audit: () => Promise.resolve({ accounts: 2, entries: 7, violations: [] }),
    peers: () => [
      {
        name: 'loopback',
        originHost: 'smf.example.org',
        originRealm: 'example.org',
        address: '127.0.0.1',
        state: 'open',
        since: Date.UTC(2026, 0, 15),
      },
    ],
    status: () => ({
      version: '0.1.0',
      started: Date.UTC(2026, 0, 15),
      identity: 'ocs.localdomain',
      realm: 'localdomain',
      diameter: ['127.0.0.1:3868'],
      store: 'embedded',
      durability: 'disk',
      catalog: '3f2a',
      ready: true,
      reasons: [],
    }),
    recharged: (channel, result) => recharged.push(`${channel} ${result}`),
    ...changes,
  }
  const api = await startAdminApi({
    listen: { host: '127.0.0.1', port: 0 },
    token,
    version: '0.1.0',
    services,
    log: pino({ level: 'error' }, { write: line => errors.push(line) }),
    clock: systemClock,
  })
  t.teardown(() => api.close())
  const url = `http://127.0.0.1:${api.port}`
  return {
    api,
    errors,
    url,
    store,
    recharged,
    request: async (method, path, body, headers = {}) => {
      const response = await fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      })
      return { status: response.status, headers: response.headers, body: (await response.json()) as Reply['body'] }
    },
  }
}
