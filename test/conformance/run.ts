/**
 * `make conformance`: runs the rows' tests, joins what came of them with requirements.yaml, prints the table, and writes it
 * to test/conformance.md. Ends with status 1 when a row fails, has no test, or a test names a row that is none.
 *
 *     node --import=tsx test/conformance/run.ts                    run them
 *     node --import=tsx test/conformance/run.ts --check FILE       they ran already, FILE is their TAP; nothing is written, and
 *                                                                  the committed table must say the same
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { tableOf, testsOf, type Requirement } from './table.js'

const folder = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('../../', import.meta.url))
const written = join(root, 'test', 'conformance.md')

const requirements = parse(readFileSync(join(folder, 'requirements.yaml'), 'utf8')) as Requirement[]
const [option, file] = process.argv.slice(2)
if (option !== undefined && (option !== '--check' || file === undefined)) {
  console.error('usage: run.ts [--check FILE]')
  process.exit(2)
}
if (file !== undefined && !existsSync(file)) {
  console.error(`${file} is not there: run the tests first, or make conformance`)
  process.exit(2)
}
const tap = file === undefined ? await runTests() : readFileSync(file, 'utf8')
const { text, lines, faults } = tableOf(requirements, testsOf(tap))
if (file === undefined) {
  for (const line of lines) console.log(line)
  writeFileSync(written, text)
} else if (readFileSync(written, 'utf8') !== text) {
  faults.push('test/conformance.md is not what the tests say: run make conformance and commit it')
}
for (const fault of faults) console.error(fault)
const failed = faults.length > 0
console.log(failed ? `conformance: ${faults.length} faults` : `conformance: all ${requirements.length} rows pass`)
process.exitCode = failed ? 1 : 0

/** @returns their TAP; which test runs is told on stderr as it ends */
function runTests(): Promise<string> {
  const files = readdirSync(folder).filter(name => name.endsWith('.test.ts'))
  const paths = files.sort().map(name => join('test', 'conformance', name))
  const child = spawn('npx', ['--no-install', 'tap', 'run', '--reporter=tap', ...paths], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
    for (const line of chunk.split('\n')) if (/^(not )?ok /.test(line)) console.error(line)
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    process.stderr.write(chunk.replace(/^npm warn .*\n/gm, ''))
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', () => {
      mkdirSync(join(root, '.tap'), { recursive: true })
      writeFileSync(join(root, '.tap', 'conformance.tap'), text)
      resolve(text)
    })
  })
}
