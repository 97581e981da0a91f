import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

t.test('the rating bench runs, on tiny catalogs, and prints one JSON line and two tables', t => {
  const bench = fileURLToPath(new URL('../../bench/rating.ts', import.meta.url))
  const output = execFileSync(process.execPath, ['--import=tsx', bench], {
    env: { ...process.env, BENCH_SMALL: '1' },
    encoding: 'utf8',
  })
  const [json, ...tables] = output.trimEnd().split('\n')
  const result = JSON.parse(json!) as { bench: string; load: Record<string, number>[]; match: Record<string, number>[] }
  t.equal(result.bench, 'rating')
  t.equal(result.load.length, 7)
  t.equal(result.match.length, 5)
  for (const row of result.load) t.ok(row['heap']! > 0 && row['rss']! > 0, 'the catalog takes memory')
  for (const row of result.match)
    t.ok(row['again']! > 0 && row['first']! > 0 && row['find']! > 0, 'matching takes time')
  t.equal(tables.length, 16)
  t.end()
})
