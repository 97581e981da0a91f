import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

t.test('the codec bench runs, on a tiny input, and prints one JSON line and a table', t => {
  const bench = fileURLToPath(new URL('../../bench/codec.ts', import.meta.url))
  const output = execFileSync(process.execPath, ['--import=tsx', bench], {
    env: { ...process.env, BENCH_SMALL: '1' },
    encoding: 'utf8',
  })
  const [json, ...table] = output.trimEnd().split('\n')
  const result = JSON.parse(json!) as { bench: string; rows: { ocsd: number; 'node-diameter': number }[] }
  t.equal(result.bench, 'codec')
  t.equal(result.rows.length, 6)
  for (const row of result.rows) t.ok(row.ocsd > 0 && row['node-diameter'] > 0)
  t.equal(table.length, 7)
  t.end()
})
