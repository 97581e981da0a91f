/** `ocsctl catalog check | diff | schema`: what a catalog would do, before it is in use; `publish | versions | rollback`: which one is. */
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import type { Command } from 'commander'
import type { PublicationView } from '../admin/catalog-routes.js'
import type { CatalogTexts, ReloadOutcome } from '../admin/services.js'
import type { CatalogDiff } from '../rating/diff.js'
import { catalogSchema } from '../rating/catalog-shape.js'
import { readCatalog } from '../rating/load.js'
import { parsePercent } from '../config/quantity.js'
import type { Ctl, Options } from './command.js'
import { table } from './text.js'

type Reloaded = Exclude<ReloadOutcome, { status: 'refused' }>

interface PublishOptions extends Options {
  readonly reason: string
  readonly over?: string
}

interface Published {
  readonly status: 'published' | 'unchanged'
  readonly version: string
  readonly warnings: readonly string[]
  readonly publication: PublicationView | null
  readonly differences?: readonly string[]
}

interface Versions {
  readonly items: readonly PublicationView[]
  readonly inUse: string
}

type VersionTexts = Omit<PublicationView, 'files'> & CatalogTexts

export function addCatalogCommands(catalog: Command, ctl: Ctl): void {
  const { command, call, put, usage, final, confirm, actor } = ctl
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
  command(
    catalog,
    'publish [folder]',
    'Use a catalog at all daemons of the store: a folder here, or the daemon’s own files.',
  )
    .requiredOption('--reason <text>', 'why, for those who look later')
    .option('--over <version>', 'only if this version is in use now')
    .action(async (path: string | undefined, options: PublishOptions) => {
      const texts = path === undefined ? {} : textsAt(path, usage)
      const body = { ...texts, reason: options.reason, over: options.over, actor }
      const answer = await call<Published>(options, 'POST', '/v1/catalog/publish', body)
      put(options, answer, () => [...publishedText(answer), ...(answer.differences ?? [])].join('\n'))
    })
  command(catalog, 'versions [version]', 'What was published, by whom, when and why; of one version, its files.')
    .option('--into <folder>', 'write the files of the version there')
    .action(async (version: string | undefined, options: Options & { readonly into?: string }) => {
      if (version === undefined) {
        if (options.into !== undefined) throw usage('--into goes with a version')
        const answer = await call<Versions>(options, 'GET', '/v1/catalog/versions')
        put(options, answer, () => versionsText(answer))
        return
      }
      const answer = await call<VersionTexts>(options, 'GET', `/v1/catalog/versions/${encodeURIComponent(version)}`)
      if (options.into !== undefined) writeTexts(options.into, answer, usage)
      put(options, answer, () => versionText(answer, options.into))
    })
  final(command(catalog, 'rollback <version>', 'Use a version that was published before again, at once.'))
    .requiredOption('--reason <text>', 'why, for those who look later')
    .option('--over <version>', 'only if this version is in use now')
    .action(async (version: string, options: PublishOptions) => {
      await confirm(options, `All daemons of the store go back to catalog ${version}.`)
      const body = { version, reason: options.reason, over: options.over, actor }
      const answer = await call<Published>(options, 'POST', '/v1/catalog/rollback', body)
      put(options, answer, () => publishedText(answer).join('\n'))
    })
  catalog
    .command('schema')
    .description('Print the JSON Schema of the catalog, for editors.')
    .exitOverride()
    .action(() => console.log(JSON.stringify(catalogSchema(), undefined, 2)))
}

function publishedText({ status, version, warnings, publication }: Published): string[] {
  const number = publication ? `, number ${publication.number}` : ''
  const what = status === 'unchanged' ? `catalog ${version} is in use already` : `catalog ${version} is in use${number}`
  return [...warnings.map(warning => `warning: ${warning}`), what]
}

function versionsText({ items, inUse }: Versions): string {
  if (items.length === 0) return `nothing was published: each daemon uses its own folder, this one catalog ${inUse}`
  return table(
    ['number', 'version', 'at', 'by', 'how', 'why'],
    items.map(({ number, version, at, actor, how, reason }, i) => [
      ...[String(number), i === 0 ? `${version} *` : version, at, actor, how, reason],
    ]),
  )
}

function versionText({ number, version, at, actor, reason, files, others }: VersionTexts, into?: string): string {
  const about = `catalog ${version}, number ${number}, published ${at} by ${actor}: ${reason}`
  const all = [...files, ...others]
  if (into !== undefined) return [about, ...all.map(({ file }) => `written: ${join(into, file)}`)].join('\n')
  return [about, ...all.map(({ file, text }) => `\n# ${file}\n${text.trimEnd()}`)].join('\n')
}

/** Files of a daemon go nowhere but below the folder that was named. */
function writeTexts(folder: string, { files, others }: VersionTexts, usage: Ctl['usage']): void {
  for (const { file, text } of [...files, ...others]) {
    const path = join(folder, file)
    if (relative(folder, path).startsWith('..')) throw usage(`${file} is not below ${folder}`)
    try {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, text)
    } catch (error) {
      throw usage(`${path}: ${(error as Error).message}`)
    }
  }
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
