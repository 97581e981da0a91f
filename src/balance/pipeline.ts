/**
 * Many commands in one round trip. What one of them suffers, the whole call does: so that the store's one retry sees it,
 * and only commands that may be repeated belong here.
 */
import type { ChainableCommander } from 'ioredis'
import type { RedisWithScripts } from './scripts.js'

/** Replies in the order of the commands. Rejects with the first error among them. */
export async function inPipeline(
  redis: RedisWithScripts,
  build: (pipeline: ChainableCommander) => void,
): Promise<unknown[]> {
  const pipeline = redis.pipeline()
  build(pipeline)
  if (pipeline.length === 0) return []
  const replies = (await pipeline.exec()) ?? []
  return replies.map(([error, reply]) => {
    if (error) throw error
    return reply
  })
}

/** Pieces of a list, so that no pipeline holds the event loop, or the store, for long. */
export function* pieces<T>(list: readonly T[], most: number): Generator<readonly T[]> {
  for (let from = 0; from < list.length; from += most) yield list.slice(from, from + most)
}
