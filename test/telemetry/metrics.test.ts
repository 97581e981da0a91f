import { execFileSync } from 'node:child_process'
import t from 'tap'
import { DiameterCounters } from '../../src/diameter/metrics.js'
import { ccrContexts, ccrOutcomes, ccrTypes, Metrics, stages } from '../../src/telemetry/metrics.js'
import { toolOrNotRun } from '../support/tools.js'

const peers = ['loopback', 'smf-1']
const metricsWith = (runtime = false): { metrics: Metrics; diameter: DiameterCounters } => {
  const diameter = new DiameterCounters(peers)
  const metrics = new Metrics({
    version: '0.1.0',
    diameter,
    peers: () => peers.map((name, connections) => ({ name, connections })),
    runtime,
  })
  return { metrics, diameter }
}

/** Everything happens at least once, for every value of every closed list. */
function exercise({ metrics, diameter }: ReturnType<typeof metricsWith>): void {
  for (const type of ccrTypes) {
    for (const context of ccrContexts) {
      for (const outcome of ccrOutcomes) {
        for (const code of [2001, 3004, 4010, 4012, 5002, 5012]) metrics.ccr.record(type, context, code, outcome, 0.002)
      }
    }
  }
  for (const stage of stages) metrics.ccr.stage(stage, 0.0001)
  const { charging, store, ledger, operation } = metrics
  charging.duplicate()
  charging.sessionsOpen = () => 7
  metrics.expiry.silent()
  for (const offer of ['payg', 'bundle-5gb']) {
    for (const unit of ['octets', 'seconds', 'events'] as const) {
      charging.granted(unit, offer, 10_000_000n)
      charging.used(unit, offer, 5n)
    }
    charging.charged('EUR', offer, 70_000n)
  }
  charging.overrun('EUR', 5n)
  for (const script of ['charge', 'event', 'credit', 'expire', 'create']) store.call(script, 0.0004)
  store.error('timeout')
  store.clockSkew = () => -0.004
  ledger.written(3, 900, 1_763_000_000_000)
  ledger.backlog = () => 5
  ledger.audited(0, 1_763_000_000_000, 250)
  for (let channel = 0; channel < 100; channel++) operation.recharge(`channel-${channel}`, 'credited')
  operation.catalog = '3f2a'
  for (const peer of peers) {
    diameter.traffic(peer).messagesIn.fill(2)
    diameter.traffic(peer).messagesOut.fill(2)
    diameter.closed(peer, 'dpr')
  }
  for (const code of [3001, 5001, 5004, 5014]) diameter.decodeError(code)
}

void t.test('promtool finds nothing to say about a scrape, fresh or used', async t => {
  const promtool = toolOrNotRun(t, 'promtool', 'prometheus')
  if (promtool === undefined) return
  const used = metricsWith(true)
  exercise(used)
  for (const { metrics } of [metricsWith(true), used]) {
    const input = await metrics.scrape()
    t.doesNotThrow(() => execFileSync(promtool, ['check', 'metrics'], { input, stdio: ['pipe', 'pipe', 'inherit'] }))
  }
})

void t.test('a process that has seen everything stays below 2,000 series', async t => {
  const used = metricsWith(true)
  exercise(used)
  const series = (await used.metrics.scrape()).split('\n').filter(line => line !== '' && !line.startsWith('#'))
  t.ok(series.length < 2000, `${series.length} series`)
  t.equal(new Set(series.map(line => line.slice(0, line.lastIndexOf(' ')))).size, series.length, 'each series once')
})

void t.test('what an alert divides by or compares is there before anything happened', async t => {
  const text = await metricsWith().metrics.scrape()
  const expected = [
    'ocs_ccr_total{type="initial",context="data",result="2001",outcome="granted"} 0',
    'ocs_ccr_total{type="terminate",context="data",result="3004",outcome="server_fault"} 0',
    'ocs_ccr_total{type="update",context="data",result="5012",outcome="server_fault"} 0',
    'ocs_ccr_duration_seconds_bucket{type="update",outcome="granted",le="0.05"} 0',
    'ocs_ledger_invariant_violations_total 0',
    'ocs_store_up 0',
    'ocs_store_durability_ok 1',
    'ocs_store_errors_total{class="timeout"} 0',
    'ocs_diameter_peer_up{peer="smf-1"} 1',
    'ocs_diameter_peer_up{peer="loopback"} 0',
    'ocs_diameter_closed_total{peer="smf-1",reason="watchdog"} 0',
    'ocs_catalog_reload_total{result="refused"} 0',
    'ocs_draining 0',
    'ocs_log_dropped_total 0',
  ]
  for (const line of expected) t.ok(text.includes(`${line}\n`), line)
  t.notMatch(text, /ocs_audit_last_success_timestamp_seconds \d/, 'no audit, no time of one')
})

void t.test('a histogram is cumulative and ends at its count', async t => {
  const { metrics } = metricsWith()
  for (const seconds of [0.0005, 0.0006, 0.04, 99]) metrics.ccr.record('update', 'data', 2001, 'granted', seconds)
  const text = await metrics.scrape()
  const at = (le: string): string | undefined =>
    new RegExp(`ocs_ccr_duration_seconds_bucket{type="update",outcome="granted",le="${le}"} (\\d+)`).exec(text)?.[1]
  t.same(['0.0005', '0.001', '0.025', '0.05', '10', '\\+Inf'].map(at), ['1', '2', '2', '3', '3', '4'])
  t.match(text, 'ocs_ccr_duration_seconds_count{type="update",outcome="granted"} 4')
  t.match(text, 'ocs_ccr_total{type="update",context="data",result="2001",outcome="granted"} 4')
})

void t.test('label values that people write are bounded', async t => {
  const used = metricsWith()
  exercise(used)
  const text = await used.metrics.scrape()
  t.equal(new Set(text.match(/ocs_recharges_total{channel="[^"]*"/g)).size, 21)
  t.match(text, 'ocs_recharges_total{channel="other",result="credited"} 80')
})

void t.test('one CCR in 16 is timed by stage', t => {
  const { ccr } = metricsWith().metrics
  t.equal(Array.from({ length: 160 }, () => ccr.sampled()).filter(Boolean).length, 10)
  t.end()
})

void t.test('the store is up when each of its connections is', async t => {
  const { metrics } = metricsWith()
  const second = metrics.store.connection()
  const up = async (): Promise<string | undefined> => /\nocs_store_up (\d)/.exec(await metrics.scrape())?.[1]
  metrics.store.up(true)
  t.equal(await up(), '0')
  second.up(true)
  t.equal(await up(), '1')
  second.up(false)
  t.equal(await up(), '0')
})
