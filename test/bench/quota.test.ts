import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

interface Result {
  readonly bench: string
  readonly alone: readonly Record<string, number>[]
  readonly shared: readonly Record<string, number>[]
}

t.test('the quota bench runs, on short sessions, and a seed gives the same figures again', t => {
  const bench = fileURLToPath(new URL('../../bench/quota.ts', import.meta.url))
  const run = (seed: number): string =>
    execFileSync(process.execPath, ['--import=tsx', bench], {
      env: { ...process.env, BENCH_SMALL: '1', SEED: String(seed) },
      encoding: 'utf8',
    })
  const output = run(1)
  const [json, ...tables] = output.trimEnd().split('\n')
  const { bench: name, alone, shared } = JSON.parse(json!) as Result
  t.equal(name, 'quota')
  t.equal(alone.length, 24)
  t.equal(shared.length, 18)
  for (const row of alone) {
    t.ok(row['messages']! >= 2 && row['used']! > 0 && row['held']! > 0, 'the session used something')
    t.equal(row['refused'], 0, 'there is enough')
  }
  for (const row of shared) t.ok(row['held']! > 0 && row['held']! < 1 && row['stranded']! < 1, 'shares of a balance')
  t.equal(tables.length, 46)
  t.equal(run(1), output)
  t.not(run(2), output)
  t.end()
})
