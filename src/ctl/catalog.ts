/** `ocsctl catalog check | diff | schema`: what a catalog would do, before it is in use. */
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { CatalogTexts, ReloadOutcome } from '../admin/services.js'
import type { CatalogDiff } from '../rating/diff.js'
import { catalogSchema } from '../rating/catalog-shape.js'
import { readCatalog } from '../rating/load.js'
import { parsePercent } from '../config/quantity.js'
import type { Ctl, Options } from './command.js'

type Reloaded = Exclude<ReloadOutcome, { status: 'refused' }>

export function addCatalogCommands(catalog: Command, ctl: Ctl): void {
  const { command, call, put, usage } = ctl
  command(catalog, 'check [path]', 'Say what a reload would: of the daemon’s own files, or of a folder here.')
    .option('--jump <percent>', 'warn of prices that change by more', '20%')
    .addHelpText(
      'after',
      `
The running daemon compares with what it charges by, and with what accounts hold. Where none runs: ocsd --check.`,
    )
    .action(async (path: string | undefined, options: Options & { readonly jump: string }) => {
      const jump = percentOf(options.jump)
      if (jump === undefined) throw usage(`--jump: ${options.jump} is not a share like 20%`)
      const body = { ...(path !== undefined && textsAt(path, usage)), jump }
      const outcome = await call<Reloaded>(options, 'POST', '/v1/catalog/check', body)
      const is = outcome.status === 'unchanged' ? 'it is in use' : 'a reload would take it into use'
      put(options, outcome, () =>
        [
          ...outcome.warnings.map(warning => `warning: ${warning}`),
          `catalog ${outcome.version} has no faults; ${is}`,
        ].join('\n'),
      )
    })
  command(
    catalog,
    'diff [path]',
    'What a catalog would change, and for how many: the daemon’s own files, or a folder here.',
  ).action(async (path: string | undefined, options: Options) => {
    const body = path === undefined ? {} : textsAt(path, usage)
    const answer = await call<CatalogDiff & { text: string[] }>(options, 'POST', '/v1/catalog/diff', body)
    put(options, answer, () => answer.text.join('\n'))
  })
  catalog
    .command('schema')
    .description('Print the JSON Schema of the catalog, for editors.')
    .exitOverride()
    .action(() => console.log(JSON.stringify(catalogSchema(), undefined, 2)))
}

/** `20%` or `150%`: more than doubled is a share, too. */
function percentOf(text: string): number | undefined {
  return parsePercent(text) ?? (/^\d{3,6}%$/.test(text) ? Number(text.slice(0, -1)) : undefined)
}

/** The YAML of a folder (or one file), and the files that it names. */
function textsAt(path: string, usage: Ctl['usage']): CatalogTexts {
  try {
    const names = statSync(path).isDirectory()
      ? readdirSync(path)
          .filter(name => /\.ya?ml$/.test(name) && !name.startsWith('.'))
          .sort()
          .map(name => join(path, name))
      : [path]
    if (names.length === 0) throw new Error('there is no *.yaml file in this folder')
    const files = names.map(file => ({ file, text: readFileSync(file, 'utf8') }))
    const others: { file: string; text: string }[] = []
    // Reading it finds which files it names; what is wrong with it the daemon says.
    readCatalog(files, file => {
      const text = readFileSync(file, 'utf8')
      others.push({ file, text })
      return text
    })
    return { files, others }
  } catch (error) {
    throw usage(`${path}: ${(error as Error).message}`)
  }
}
