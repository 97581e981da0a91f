/**
 * Which catalog is in use (scope N11, S36). As long as nobody published one, each daemon uses its own folder, and a reload is its own
 * matter. From the first publication on the newest one is the truth for all daemons of the store: a daemon hears of it, or finds it when
 * it looks, and takes it at once; a reload of a folder whose files were changed is a publication. A start never publishes.
 *
 * Open grants keep the rate that they were given under (semantics.md section 8), whatever daemon took what when.
 */
import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import type { Nodes } from '../balance/nodes.js'
import type { Publication, Publications, PublishedTexts } from '../balance/publications.js'
import type { Clock, Timer } from '../clock.js'
import { formatFault } from '../config/yaml.js'
import type { Judgement } from '../inquiry/judge.js'
import type { Catalog } from '../rating/catalog.js'
import { loadCatalogTexts, readCatalog, type CatalogOutcome } from '../rating/load.js'
import type { Millis } from '../units.js'
import { inOneFolder, MisplacedFile, type CatalogFiles } from './catalog-files.js'

export interface PublishRequest {
  /** Undefined: the files of this daemon's folder. */
  readonly texts?: PublishedTexts | undefined
  readonly actor: string
  readonly reason: string
  /** Refused when another version is in use. */
  readonly onlyOver?: string | undefined
}

export interface RollbackRequest {
  readonly version: string
  readonly actor: string
  readonly reason: string
  readonly onlyOver?: string | undefined
}

export type PublishOutcome =
  | {
      readonly status: 'published' | 'unchanged'
      /** In use now. */
      readonly version: string
      readonly warnings: readonly string[]
      /** Absent where nothing was ever published. */
      readonly publication?: Publication
    }
  | {
      readonly status: 'refused'
      readonly version: string
      readonly faults: readonly string[]
      readonly warnings: readonly string[]
    }
  /** Another version is in use than the one that was read. */
  | { readonly status: 'stale'; readonly version: string }
  | { readonly status: 'unknown_version'; readonly version: string }

export type FolderOutcome =
  | { readonly status: 'loaded' | 'unchanged'; readonly version: string; readonly warnings: readonly string[] }
  | Extract<PublishOutcome, { status: 'refused' }>

export interface CatalogPublishingParts {
  readonly publications: Publications
  readonly files: CatalogFiles
  /** Key `catalog` of the configuration. */
  readonly path: string
  readonly inUse: () => Catalog
  /** Takes it into use. */
  readonly use: (catalog: Catalog) => void
  /** All that speaks against it. */
  readonly judge: (outcome: CatalogOutcome) => Promise<Judgement>
  /** What accounts hold that it lacks, in words. */
  readonly lacking: (catalog: Catalog) => Promise<readonly string[]>
  /** A reload was tried. */
  readonly reloaded: (result: 'ok' | 'refused') => void
  /** This daemon brought another version into use, for itself or for all. */
  readonly published: (version: string) => void
  readonly nodes: Pick<Nodes, 'listenTo' | 'tellAt'>
  readonly clock: Clock
  readonly log: Logger
  /** Between two looks for a publication that nobody told of, default 5 s. */
  readonly everyMs?: number
}

const channel = 'ocs:catalog-published'
/** Times that a publication is tried again when somebody else was faster. */
const tries = 5

export class CatalogPublishing {
  /** Of the publication in use; undefined: the folder's catalog is. */
  private current: string | undefined
  /** The newest first; as of the last look. */
  private known: readonly Publication[] = []
  /** What the folder held when it was looked at last. */
  private folderVersion: string
  private unusable: string | undefined
  /** What this daemon took from its folder, for whoever wants to go back behind the first publication. */
  private own: PublishedTexts | undefined
  private queue: Promise<unknown> = Promise.resolve()
  private timer: Timer | undefined
  private stopped = false

  constructor(private readonly parts: CatalogPublishingParts) {
    this.folderVersion = parts.inUse().version
    const read = loadCatalogTexts(parts.path)
    this.own = versionIn(read.outcome) === this.folderVersion ? read : undefined
  }

  /** Takes the publication in use, if there is one, and goes on looking. @throws BalanceUnavailableError */
  async start(): Promise<void> {
    await this.look()
    const { inUse, nodes, log } = this.parts
    const [newest] = this.known
    if (newest && newest.version !== this.folderVersion) {
      const fields = { event: 'catalog_folder_differs', folder: this.folderVersion, catalog: inUse().version }
      log.warn(fields, `the catalog's folder differs from what is in use: ${this.differs(newest)}`)
    }
    nodes.listenTo(channel, () => void this.lookQuietly())
    this.wait()
  }

  async stop(): Promise<void> {
    this.stopped = true
    this.timer?.cancel()
    await this.queue
  }

  /** Reads the folder again. */
  reload(): Promise<FolderOutcome> {
    return this.inTurn(() => this.reloadNow())
  }

  /** @throws BalanceUnavailableError */
  publish(request: PublishRequest): Promise<PublishOutcome> {
    return this.inTurn(() => this.publishNow(request))
  }

  /** Uses an earlier version again, at once: its tests are not run, and what accounts hold that it lacks is told, not refused. */
  rollback(request: RollbackRequest): Promise<PublishOutcome> {
    return this.inTurn(() => this.rollbackNow(request))
  }

  /** The newest first. @throws BalanceUnavailableError */
  async versions(): Promise<readonly Publication[]> {
    return this.parts.publications.list()
  }

  /** The newest publication of a version, with its texts. @throws BalanceUnavailableError */
  async version(version: string): Promise<{ publication: Publication; texts: PublishedTexts } | undefined> {
    const { publications } = this.parts
    const publication = (await publications.list()).find(each => each.version === version)
    const texts = publication && (await publications.texts(publication.id))
    return publication && texts && { publication, texts }
  }

  /** The version that was in use then, as far as publications tell. */
  inForce(at: Millis): string | undefined {
    return this.known.find(each => each.at <= at)?.version
  }

  private async reloadNow(): Promise<FolderOutcome> {
    const { path, inUse, judge, use, reloaded, log } = this.parts
    const read = loadCatalogTexts(path)
    const next = await judge(read.outcome)
    if ('faults' in next) {
      log.error({ event: 'catalog_refused', faults: next.faults }, 'the catalog is refused; the old one stays in force')
      reloaded('refused')
      return { status: 'refused', version: inUse().version, ...next }
    }
    const { catalog } = next
    let { warnings } = next
    const [before, seen] = [inUse().version, this.folderVersion]
    this.folderVersion = catalog.version
    const [newest] = await this.newest()
    if (newest === undefined || catalog.version === before) {
      use(catalog)
      this.own = read
      if (catalog.version !== before) this.parts.published(catalog.version)
    }
    else if (catalog.version === seen) {
      // A signal for other files, or a folder that was not written when somebody published: nobody asked for this one.
      warnings = [`the folder still holds what it held: ${this.differs(newest)}`]
    } else {
      const texts = inOneFolder(read)
      const done = await this.add(catalog, texts, { how: 'reload', actor: 'reload', reason: 'the folder was read again' })
      if (done.status !== 'published') throw new Error('too many publish at once: try again')
    }
    const { version } = inUse()
    const status = version === before ? 'unchanged' : 'loaded'
    reloaded('ok')
    log.info({ event: 'catalog_loaded', catalog: version, warnings }, `catalog ${status}`)
    return { status, version, warnings }
  } // prettier-ignore

  private async publishNow({ texts: given, actor, reason, onlyOver }: PublishRequest): Promise<PublishOutcome> {
    const { path, inUse, judge } = this.parts
    await this.look()
    const { version } = inUse()
    if (onlyOver !== undefined && version !== onlyOver) return { status: 'stale', version }
    const read = given ? { ...given, outcome: readTexts(given) } : loadCatalogTexts(path)
    const next = await judge(read.outcome)
    if ('faults' in next) return { status: 'refused', version, ...next }
    const { catalog, warnings } = next
    let texts: PublishedTexts
    try {
      texts = inOneFolder(read)
    } catch (error) {
      if (!(error instanceof MisplacedFile)) throw error
      return { status: 'refused', version, faults: [error.message], warnings }
    }
    if (catalog.version === version && this.known.length > 0)
      return { status: 'unchanged', version, warnings, publication: this.known[0]! }
    const done = await this.add(catalog, texts, { how: 'publish', actor, reason, onlyOver })
    if (done.status !== 'published') return done
    return { ...done, warnings: [...warnings, ...this.writeFolder(done.publication, texts)] }
  }

  private async rollbackNow({ version, actor, reason, onlyOver }: RollbackRequest): Promise<PublishOutcome> {
    const { inUse, lacking } = this.parts
    await this.look()
    const before = inUse().version
    if (onlyOver !== undefined && before !== onlyOver) return { status: 'stale', version: before }
    const found = await this.version(version)
    if (!found) return { status: 'unknown_version', version: before }
    if (version === before) return { status: 'unchanged', version, warnings: [], publication: this.known[0]! }
    const outcome = readTexts(found.texts)
    if ('faults' in outcome)
      return { status: 'refused', version: before, faults: outcome.faults.map(formatFault), warnings: [] }
    const done = await this.add(outcome.catalog, found.texts, { how: 'rollback', actor, reason, onlyOver })
    if (done.status !== 'published') return done
    const warnings = this.writeFolder(done.publication, found.texts)
    return { ...done, warnings: [...warnings, ...(await lacking(outcome.catalog))] }
  }

  /** Makes it the newest, and uses it. The first one of all takes what was in use with it, so that one can go back. */
  private async add(
    catalog: Catalog,
    texts: PublishedTexts,
    about: Pick<Publication, 'how' | 'actor' | 'reason'> & { readonly onlyOver?: string | undefined },
  ): Promise<{ status: 'published'; version: string; publication: Publication } | { status: 'stale'; version: string }> {
    const { publications, inUse, clock, log, nodes } = this.parts
    const { how, actor, reason, onlyOver } = about
    for (let i = 0; i < tries; i++) {
      const [newest] = await this.newest()
      const running = newest?.version ?? inUse().version
      if (onlyOver !== undefined && running !== onlyOver) return { status: 'stale', version: running }
      if (!newest && !(await this.addFirst())) continue
      const after = newest ?? this.known[0]
      const publication: Publication = {
        ...{ id: randomUUID(), number: (after?.number ?? 0) + 1, version: catalog.version, at: Math.round(clock.now()) },
        ...{ actor, reason, how, files: [...texts.files, ...texts.others].map(({ file }) => file) },
      }
      if (!(await publications.publish(after?.id, publication, texts))) continue
      this.known = [publication, ...this.known]
      this.take(publication, catalog)
      this.keep(publication, texts)
      this.parts.published(publication.version)
      log.info({ event: 'catalog_published', catalog: catalog.version, number: publication.number, how, actor, reason }, 'a catalog is published')
      await nodes.tellAt(channel, { id: publication.id })
      return { status: 'published', version: catalog.version, publication }
    }
    return { status: 'stale', version: inUse().version }
  } // prettier-ignore

  /** What this daemon used before anything was published. False: somebody was faster. */
  private async addFirst(): Promise<boolean> {
    const { publications, inUse, clock } = this.parts
    if (!this.own) return true
    const texts = inOneFolder(this.own)
    const publication: Publication = {
      ...{ id: randomUUID(), number: 1, version: inUse().version, at: Math.round(clock.now()), actor: 'ocsd' },
      ...{ reason: 'in use before the first publication', how: 'before' },
      files: [...texts.files, ...texts.others].map(({ file }) => file),
    }
    if (!(await publications.publish(undefined, publication, texts))) return false
    this.known = [publication]
    this.keep(publication, texts)
    return true
  }

  /** It is published all the same: the store has it. */
  private keep(publication: Publication, texts: PublishedTexts): void {
    try {
      this.parts.files.keep(publication, texts)
    } catch (error) {
      this.parts.log.warn(
        { event: 'catalog_not_kept', err: error },
        'a published catalog is not kept in the data folder',
      )
    }
  }

  private writeFolder(publication: Publication, texts: PublishedTexts): string[] {
    const { files, path, log } = this.parts
    try {
      files.write(publication, texts)
      this.folderVersion = publication.version
      return []
    } catch (error) {
      const why = (error as Error).message
      log.warn({ event: 'catalog_folder_not_written', err: why }, `${path} does not hold what is in use`)
      return [`${path} could not be written (${why}): it does not hold what is in use; the store does`]
    }
  }

  /** Takes what is the newest now. */
  private async look(): Promise<void> {
    const { publications, log, inUse } = this.parts
    const id = await publications.newestId()
    if (id === undefined || id === this.current || id === this.unusable) return
    const [newest] = await this.newest()
    const texts = newest && (await publications.texts(newest.id))
    if (!texts) return
    const outcome = readTexts(texts)
    if ('faults' in outcome) {
      // Published by a daemon that knows more keys.
      this.unusable = newest.id
      const faults = outcome.faults.map(formatFault)
      const fields = { event: 'catalog_unusable', catalog: newest.version, faults }
      log.error(fields, `the published catalog cannot be used here; ${inUse().version} stays in use`)
      return
    }
    const { version } = inUse()
    this.take(newest, outcome.catalog)
    this.keep(newest, texts)
    if (version === newest.version) return
    const { number, actor, reason } = newest
    log.info(
      { event: 'catalog_taken', catalog: newest.version, number, actor, reason },
      'a published catalog is in use',
    )
  }

  private take({ id }: Publication, catalog: Catalog): void {
    this.current = id
    this.parts.use(catalog)
  }

  private async newest(): Promise<readonly Publication[]> {
    this.known = await this.parts.publications.list()
    return this.known
  }

  private lookQuietly(): Promise<void> {
    if (this.stopped) return Promise.resolve()
    return this.inTurn(() => this.look()).catch((error: unknown) => {
      this.parts.log.debug({ event: 'catalog_look', err: error })
    })
  }

  private wait(): void {
    this.timer = this.parts.clock.setTimeout(() => {
      void this.lookQuietly().finally(() => {
        if (!this.stopped) this.wait()
      })
    }, this.parts.everyMs ?? 5_000)
  }

  private differs({ version, number, actor, at }: Publication): string {
    const when = new Date(at).toISOString()
    return (
      `it holds ${this.folderVersion}, in use is ${version}, published as number ${number} by ${actor} at ${when}; ` +
      'to use the folder: ocsctl catalog publish'
    )
  }

  /** One after the other, so that the files read last are in force. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.queue.then(work)
    this.queue = done.catch(() => undefined)
    return done
  }
}

/** A catalog that was sent: nothing of this machine is read for it. */
export function readTexts({ files, others }: PublishedTexts): CatalogOutcome {
  const texts = new Map(others.map(({ file, text }) => [file, text]))
  return readCatalog(files, file => {
    const text = texts.get(file)
    if (text === undefined) throw new Error('it was not sent with the catalog')
    return text
  })
}

const versionIn = (outcome: CatalogOutcome): string | undefined =>
  'catalog' in outcome ? outcome.catalog.version : undefined
