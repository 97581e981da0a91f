/**
 * A catalog as files: read from the folder that the configuration names, written there when another one is published, and each published
 * one kept under `data/catalog` with who, when and why.
 *
 * Files are replaced one after the other. What is being written is noted first, so that a start after a crash finishes it and never
 * serves half of a catalog.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, normalize, relative } from 'node:path'
import type { Publication, PublishedTexts } from '../balance/publications.js'

/** Names of files that cannot stand in one folder; in words for whoever sent them. */
export class MisplacedFile extends Error {}

/** Kept publications; older ones are removed. */
const keptFolders = 100
const noteName = 'writing.json'
const recordName = 'publication.json'
const isYaml = (name: string): boolean => /\.ya?ml$/.test(name) && !name.startsWith('.')

/**
 * The same texts under their names in the catalog's folder: YAML files beside each other, others there or below.
 *
 * @throws MisplacedFile
 */
export function inOneFolder({ files, others }: PublishedTexts): PublishedTexts {
  const folder = dirname(files[0]!.file)
  const place = (file: string): string => {
    const name = normalize(relative(folder, file))
    if (isAbsolute(name) || name.startsWith('..') || name.split('/').some(part => part.startsWith('.')))
      throw new MisplacedFile(`${file} is not below the folder of ${files[0]!.file}: put all files of a catalog into one folder`)
    return name
  }
  const named = files.map(({ file, text }) => ({ file: place(file), text }))
  const odd = named.find(({ file }) => file.includes('/') || !isYaml(file))
  if (odd) throw new MisplacedFile(`${odd.file} is no *.yaml file beside the others: a catalog's folder holds them all`)
  const all = [...named, ...others.map(({ file, text }) => ({ file: place(file), text }))]
  const twice = all.find(({ file }, i) => all.findIndex(each => each.file === file) !== i)
  if (twice) throw new MisplacedFile(`${twice.file} was sent twice`)
  return { files: named, others: all.slice(named.length) }
} // prettier-ignore

/** Where publications are kept, and the folder (or one file) that a start reads. */
export class CatalogFiles {
  constructor(
    /** Key `catalog` of the configuration. */
    private readonly path: string,
    /** `data/catalog`. */
    private readonly directory: string,
  ) {}

  /** Ends what a crash left half done. To be called before the catalog is read. */
  finish(): void {
    const note = join(this.directory, noteName)
    if (!existsSync(note)) return
    const { publication } = JSON.parse(readFileSync(note, 'utf8')) as { readonly publication: string }
    const kept = this.readKept(publication)
    if (kept) this.replace(kept)
    rmSync(note)
  }

  /** Keeps a publication; one that is kept already stays as it is. */
  keep(publication: Publication, texts: PublishedTexts): void {
    const folder = join(this.directory, nameOf(publication))
    if (existsSync(folder)) return
    const temporary = `${folder}.new`
    rmSync(temporary, { recursive: true, force: true })
    for (const { file, text } of [...texts.files, ...texts.others]) {
      mkdirSync(dirname(join(temporary, file)), { recursive: true, mode: 0o700 })
      writeFileSync(join(temporary, file), text, { mode: 0o600 })
    }
    const record = { ...publication, at: new Date(publication.at).toISOString() }
    writeFileSync(join(temporary, recordName), `${JSON.stringify(record, undefined, 2)}\n`, { mode: 0o600 })
    renameSync(temporary, folder)
    const old = readdirSync(this.directory).filter(name => /^\d{6}-/.test(name)).sort().slice(0, -keptFolders)
    for (const name of old) rmSync(join(this.directory, name), { recursive: true, force: true })
  } // prettier-ignore

  /**
   * Makes the folder of the configuration hold this catalog, which is kept.
   *
   * @throws the system's error when it cannot be written: the publication stands all the same
   */
  write(publication: Publication, texts: PublishedTexts): void {
    const note = join(this.directory, noteName)
    writeFileSync(`${note}.new`, JSON.stringify({ publication: nameOf(publication) }))
    renameSync(`${note}.new`, note)
    const done = { files: 0 }
    try {
      this.replace(texts, done)
    } catch (error) {
      // Nothing was changed: the folder still says what it said, and a start has nothing to finish.
      if (done.files === 0) rmSync(note)
      throw error
    }
    rmSync(note)
  }

  private replace(texts: PublishedTexts, done = { files: 0 }): void {
    const one = existsSync(this.path) && !statSync(this.path).isDirectory()
    if (one && texts.files.length > 1)
      throw new Error(`key catalog names the file ${this.path}, and this catalog has ${texts.files.length} YAML files: name a folder`)
    const folder = one ? dirname(this.path) : this.path
    for (const { file, text } of texts.others) done.files += replaceFile(join(folder, file), text)
    for (const { file, text } of texts.files) done.files += replaceFile(one ? this.path : join(folder, file), text)
    if (one) return
    const wanted = new Set(texts.files.map(({ file }) => file))
    for (const name of readdirSync(folder)) if (isYaml(name) && !wanted.has(name)) rmSync(join(folder, name))
  } // prettier-ignore

  private readKept(name: string): PublishedTexts | undefined {
    const folder = join(this.directory, basename(name))
    if (!existsSync(folder)) return undefined
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
      each => each !== recordName && !statSync(join(folder, each)).isDirectory(),
    )
    const textOf = (file: string): { file: string; text: string } => ({
      file,
      text: readFileSync(join(folder, file), 'utf8'),
    })
    const top = (file: string): boolean => isYaml(file) && !file.includes('/')
    return { files: names.filter(top).sort().map(textOf), others: names.filter(file => !top(file)).map(textOf) }
  }
}

const nameOf = ({ number, version }: Publication): string => `${String(number).padStart(6, '0')}-${version}`

/** @returns how many files it changed */
function replaceFile(path: string, text: string): number {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return 0
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
  return 1
}
