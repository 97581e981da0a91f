/**
 * Where counts live between two scrapes: plain numbers in plain objects, so that counting on the way of a CCR costs a few
 * nanoseconds. prom-client reads a Family only when somebody scrapes; nothing is hashed or allocated before.
 */
import type { Metric } from 'prom-client'

export type Labels = Readonly<Record<string, string>>

export interface Sample {
  readonly labels: Labels
  readonly value: number
  /** For the `_bucket`, `_sum` and `_count` of a histogram; else the family's name. */
  readonly metricName?: string
}

/** One metric name with its help, in the shape that prom-client's Registry reads. */
export class Family {
  /** What a registry may ask of a metric when daemons are merged. */
  readonly aggregator = 'sum'

  constructor(
    readonly name: string,
    readonly help: string,
    readonly type: 'counter' | 'gauge' | 'histogram',
    private readonly read: () => Sample[],
  ) {}

  get(): Promise<{ name: string; help: string; type: string; aggregator: string; values: Sample[] }> {
    const { name, help, type, aggregator } = this
    return Promise.resolve({ name, help, type, aggregator, values: this.read() })
  }

  reset(): void {
    // Counts are never taken back.
  }

  /** prom-client's own metrics have no interface in common but get() and reset(), which are here. */
  asMetric(): Metric {
    return this as unknown as Metric
  }
}

/** A counter by one label whose values come from a list, or from what is seen first, up to `most` values. */
export class CountBy {
  private readonly counts = new Map<string, number>()

  constructor(
    known: readonly string[] = [],
    private readonly most = 50,
  ) {
    for (const key of known) this.counts.set(key, 0)
  }

  add(key: string, amount = 1): void {
    const count = this.counts.get(key)
    if (count !== undefined) this.counts.set(key, count + amount)
    else if (this.counts.size < this.most) this.counts.set(key, amount)
    else this.counts.set('other', (this.counts.get('other') ?? 0) + amount)
  }

  samples(label: string, more: Labels = {}): Sample[] {
    return Array.from(this.counts, ([key, value]) => ({ labels: { ...more, [label]: key }, value }))
  }
}

/** Times in buckets, seconds. */
export class Buckets {
  private readonly counts: Float64Array
  private sum = 0

  /** @param bounds upper ends in seconds, rising; one more bucket takes the rest */
  constructor(private readonly bounds: readonly number[]) {
    this.counts = new Float64Array(bounds.length + 1)
  }

  observe(seconds: number): void {
    let index = 0
    while (index < this.bounds.length && seconds > this.bounds[index]!) index++
    this.counts[index]!++
    this.sum += seconds
  }

  get empty(): boolean {
    return this.counts.every(count => count === 0)
  }

  samples(name: string, labels: Labels): Sample[] {
    const samples: Sample[] = []
    let below = 0
    for (const [index, count] of this.counts.entries()) {
      below += count
      const le = index < this.bounds.length ? String(this.bounds[index]) : '+Inf'
      samples.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: below })
    }
    samples.push({ metricName: `${name}_sum`, labels, value: this.sum })
    samples.push({ metricName: `${name}_count`, labels, value: below })
    return samples
  }
}
