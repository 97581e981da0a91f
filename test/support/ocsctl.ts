/** ocsctl as a person runs it, against an admin API of this process. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Daemon } from '../../src/daemon.js'

const program = fileURLToPath(new URL('../../src/ocsctl.ts', import.meta.url))

export interface Run {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** @param tokenFile of the daemon */
export function ocsctl(daemon: Daemon, tokenFile: string, ...args: readonly string[]): Promise<Run> {
  const { host, port } = daemon.addresses.admin
  const environment = { OCS_URL: `http://${host}:${port}`, OCS_TOKEN: readFileSync(tokenFile, 'utf8').trim() }
  return new Promise(resolve => {
    const child = spawn(process.execPath, ['--import=tsx', program, ...args], {
      env: { PATH: process.env['PATH'], USER: 'ines', ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
    child.on('close', status => resolve({ status, stdout, stderr }))
  })
}
