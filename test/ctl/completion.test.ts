/** The completion script, run by bash itself; and that each shell's script names every command there is. */
import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const program = fileURLToPath(new URL('../../src/ocsctl.ts', import.meta.url))

const ocsctl = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, ['--import=tsx', program, ...args], {
    env: { PATH: process.env['PATH'], OCS_URL: 'http://127.0.0.1:1', OCS_TOKEN: 'none' },
    encoding: 'utf8',
  })

const script = ocsctl('completion', 'bash').stdout
const folder = t.testdir({ 'ocsctl.bash': script, 'catalog.yaml': '' })

/** What bash offers behind these words; the last one is being written. */
function offered(...words: readonly string[]): string[] {
  const typed = ['ocsctl', ...words].map(word => `'${word}'`).join(' ')
  const ask = `source '${join(folder, 'ocsctl.bash')}'; COMP_WORDS=(${typed}); COMP_CWORD=${words.length}; _ocsctl_complete; printf '%s\\n' "\${COMPREPLY[@]}"`
  return execFileSync('bash', ['--norc', '-uc', ask], { cwd: folder, encoding: 'utf8' }).split('\n').filter(Boolean)
}

t.test('bash is offered commands, commands of commands, options, their values, and files', t => {
  const all = offered('')
  for (const command of ['show', 'recharge', 'ledger', 'timeline', 'catalog', 'completion'])
    t.ok(all.includes(command), command)
  t.notOk(
    all.some(word => word.startsWith('-')),
    'no options before a dash',
  )
  const table: readonly [readonly string[], readonly string[]][] = [
    [['timel'], ['timeline']],
    [['show', 'a'], ['account']],
    [['catalog', 'pub'], ['publish']],
    [['catalog', 'publish', '--rea'], ['--reason']],
    // A value that is the name of a command is no command.
    [['catalog', '--config', 'show', 'roll'], ['rollback']],
    [['import', '--format', 'c'], ['csv']],
    [['catalog', 'publish', 'cat'], ['catalog.yaml']],
    [['ledger', 'anna', '--old'], ['--oldest']],
    [['completion', 'f'], ['fish']],
    [['ledger', '--no-such'], []],
  ]
  for (const [words, wanted] of table) t.same(offered(...words), wanted, words.join(' '))
  t.end()
})

t.test('each shell has its script, another one is refused', t => {
  const commands = offered('')
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { status, stdout, stderr } = ocsctl('completion', shell)
    t.equal(status, 0, stderr)
    for (const command of commands) t.ok(new RegExp(`\\b${command}\\b`).test(stdout), `${shell}: ${command}`)
  }
  t.match(ocsctl('completion', 'tcsh'), { status: 2, stderr: /no completion for tcsh: write bash, zsh, fish/ })
  t.match(ocsctl('completion'), { status: 2 })
  t.equal(spawnSync('bash', ['-n'], { input: script, encoding: 'utf8' }).stderr, '', 'bash finds no fault in it')
  t.end()
})
