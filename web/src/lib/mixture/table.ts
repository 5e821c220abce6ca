// A mixture as the table of moa.toml that it is, while it is edited: what the form does not know of stays as it was.
export type Table = Record<string, unknown>;
export type Member = Table & { model: string };

// The proposers of each layer, whichever way the table says them.
export function layers(table: Table): Member[][] {
  if (Array.isArray(table.layers)) return table.layers.map((layer) => (Array.isArray(layer) ? layer.map(member) : []));
  const proposers = Array.isArray(table.proposers) ? table.proposers.map(member) : [];
  const count = typeof table.layers === "number" ? Math.max(1, table.layers - 1) : 1;
  return Array.from({ length: count }, () => structuredClone(proposers));
}

// The table with these proposers: the same for all layers, of which the first one then counts, or each its own.
export function withLayers(table: Table, told: readonly Member[][], apart: boolean): Table {
  const { proposers: _proposers, layers: _layers, ...rest } = table;
  const short = told.map((layer) => layer.map(shortened));
  if (apart) return { ...rest, layers: short };
  return { ...rest, ...(told.length > 1 ? { layers: told.length + 1 } : {}), proposers: short[0] ?? [] };
}

export function aggregator(table: Table): Table {
  return typeof table.aggregator === "string" ? { model: table.aggregator } : { ...(table.aggregator as Table | undefined) };
}

export function withAggregator(table: Table, told: Table): Table {
  const set = plain(told);
  const kind = set.kind === "synthesize" ? undefined : set.kind;
  const { kind: _kind, ...rest } = set;
  const whole = kind ? { kind, ...(kind === "vote" ? {} : rest) } : rest;
  return { ...table, aggregator: Object.keys(whole).length === 1 && whole.model ? whole.model : whole };
}

// The table with a setting; an empty one is left out.
export function withSetting(table: Table, name: string, value: unknown): Table {
  return plain({ ...table, [name]: value });
}

function member(one: unknown): Member {
  return typeof one === "string" ? { model: one } : { model: "", ...(one as Table) };
}

function shortened(one: Member): unknown {
  const { samples, ...rest } = plain(one);
  const whole = samples && samples !== 1 ? { ...rest, samples } : rest;
  return Object.keys(whole).length === 1 ? one.model : whole;
}

function plain<Told extends Table>(table: Told): Told {
  return Object.fromEntries(Object.entries(table).filter(([, value]) => value !== undefined && value !== "")) as Told;
}
