/**
 * Who traced whom, and why: a line of JSON for the start and one for the end of each trace, in a file that is only appended to and
 * is on the disk before the first message is shown. It names the subscriber's identities by their pseudonyms, so that it can be asked whose data
 * was looked at.
 */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'

export interface TraceStarted {
  readonly event: 'started'
  readonly at: string
  readonly id: string
  readonly actor: string
  readonly reason: string
  /** Pseudonyms of his identities. */
  readonly subscribers?: readonly string[] | undefined
  readonly peer?: string | undefined
  readonly session?: string | undefined
  readonly count: number
  readonly seconds: number
}

export interface TraceEnded {
  readonly event: 'ended'
  readonly at: string
  readonly id: string
  readonly why: string
  readonly messages: number
  readonly lost: number
}

/** @throws Error of the file system: then nothing may be traced */
export function recordTrace(file: string, record: TraceStarted | TraceEnded): void {
  const fd = openSync(file, 'a', 0o600)
  try {
    writeSync(fd, `${JSON.stringify(record)}\n`)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
