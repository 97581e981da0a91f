/**
 * Programs that nobody here wrote and that tests talk to: found on the PATH or in `.tools/`, where the set-up unpacks them.
 */
import { accessSync, appendFileSync, constants, mkdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Absolute path of a program, or undefined. */
export function findTool(name: string): string | undefined {
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    ...['usr/bin', 'usr/sbin', 'bin', 'sbin'].map(folder => join(root, '.tools', folder)),
  ]
  for (const folder of folders) {
    const file = join(folder, name)
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // Not here.
    }
  }
  return undefined
}

/**
 * The program, or a line `not run: …` for the end of the run: there it fails under CI, elsewhere the rest counts.
 */
export function toolOrNotRun(t: Test, name: string, packageName: string): string | undefined {
  const tool = findTool(name)
  if (tool !== undefined) return tool
  const line = noteNotRun(t, `install ${packageName}`)
  if (process.env['CI']) t.fail(line)
  else t.pass(line)
  return undefined
}

/** Notes a test that this machine cannot run, whatever is installed on it: no failure, but a line at the end of the run. */
export const notRun = (t: Test, why: string): void => void t.pass(noteNotRun(t, why))

function noteNotRun(t: Test, why: string): string {
  mkdirSync(join(root, '.tap'), { recursive: true })
  const line = `not run: ${t.name} (${why})`
  appendFileSync(join(root, '.tap', 'not-run'), `${line}\n`)
  return line
}
