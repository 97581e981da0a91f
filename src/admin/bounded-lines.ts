/** JSON lines for a reader who may be slow: what he does not take waits up to a limit, and then is left out. */
import { Readable } from 'node:stream'

export class BoundedLines extends Readable {
  private readonly waiting: string[] = []
  private waitingOctets = 0
  private wanted = false
  private over = false

  /** @param limitOctets so much may wait for the reader beside what the system has taken */
  constructor(
    private readonly limitOctets: number,
    private readonly onGone: () => void,
  ) {
    super({ highWaterMark: 16 * 1024 })
  }

  /** False: too much waits already, and this line is left out. */
  offer(line: object): boolean {
    if (this.over || this.destroyed || this.waitingOctets >= this.limitOctets) return false
    this.put(line)
    return true
  }

  /** The last lines, whatever waits. */
  finish(...lines: readonly object[]): void {
    if (this.over || this.destroyed) return
    for (const line of lines) this.put(line)
    this.over = true
    this.pass()
  }

  override _read(): void {
    this.wanted = true
    this.pass()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.waiting.length = 0
    const early = !this.over
    this.over = true
    if (early) this.onGone()
    done(error)
  }

  private put(line: object): void {
    const text = `${JSON.stringify(line)}\n`
    this.waiting.push(text)
    this.waitingOctets += text.length
    this.pass()
  }

  private pass(): void {
    while (this.wanted && this.waiting.length > 0) {
      const text = this.waiting.shift()!
      this.waitingOctets -= text.length
      this.wanted = this.push(text)
    }
    if (this.over && this.waiting.length === 0 && !this.readableEnded) this.push(null)
  }
}
