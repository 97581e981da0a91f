import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

for (const name of ['ccr', 'balance']) {
  void t.test(`the bench ${name} runs, on a tiny input, and prints one JSON line and a table`, t => {
    const bench = fileURLToPath(new URL(`../../bench/${name}.ts`, import.meta.url))
    const output = execFileSync(process.execPath, ['--import=tsx', bench], {
      env: { ...process.env, BENCH_SMALL: '1', DURABILITY: 'memory' },
      encoding: 'utf8',
    })
    const [json, ...table] = output.trimEnd().split('\n')
    const result = JSON.parse(json!) as { bench: string; rows: Record<string, number>[] }
    t.equal(result.bench, name)
    t.ok(result.rows.length > 0)
    for (const row of result.rows) {
      t.ok(row['redis']! > 0, 'Redis worked')
      if (name === 'ccr') t.match(row, { failed: 0 })
    }
    t.ok(table.length > 2)
    t.end()
  })
}
