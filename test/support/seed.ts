/**
 * The seed of a file's random tests: SEED of the environment. Else one that is always the same under CI, where a run is to tell what a
 * change did and not how lucky it was, and a new one elsewhere: chance searches at the desk and at night.
 */
export const seed = Number(process.env['SEED'] ?? (process.env['CI'] ? 20_261_122 : Date.now() % 2 ** 31))
