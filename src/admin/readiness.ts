/** Whether this daemon would answer a CCR now, and every reason why not. */

export interface NotReady {
  /** From a short list: `store`, `catalog`, `diameter`, `draining` … */
  readonly name: string
  readonly reason: string
}

export class Readiness {
  private readonly checks = new Map<string, () => string | undefined>()

  /** Notes a reason, or with undefined that it is over. */
  set(name: string, reason: string | undefined): void {
    this.checks.set(name, () => reason)
  }

  /** Asks again each time. The reason is for people: no address, no secret. */
  watch(name: string, check: () => string | undefined): void {
    this.checks.set(name, check)
  }

  /** Empty: ready. */
  reasons(): NotReady[] {
    const reasons: NotReady[] = []
    for (const [name, check] of this.checks) {
      const reason = check()
      if (reason !== undefined) reasons.push({ name, reason })
    }
    return reasons
  }
}
