// A mixture as a table of moa.toml, for the editor. Settings without a field in the form are kept unchanged.
export type Table = Record<string, unknown>;
export type Member = Table & { model: string };

// The proposers of each layer, in any of the forms that the table allows.
export function layers(table: Table): Member[][] {
  if (Array.isArray(table.layers)) {
    return table.layers.map((layer) => (Array.isArray(layer) ? layer.map(expandMember) : []));
  }
  const proposers = Array.isArray(table.proposers) ? table.proposers.map(expandMember) : [];
  const count = typeof table.layers === "number" ? Math.max(1, table.layers - 1) : 1;
  return Array.from({ length: count }, () => structuredClone(proposers));
}

// The table with other proposers: `separate` for each layer, otherwise those of the first layer for all.
export function withLayers(table: Table, members: readonly Member[][], separate: boolean): Table {
  const { proposers: _proposers, layers: _layers, ...rest } = table;
  const short = members.map((layer) => layer.map(shortenMember));
  if (separate) return { ...rest, layers: short };
  return { ...rest, ...(members.length > 1 ? { layers: members.length + 1 } : {}), proposers: short[0] ?? [] };
}

export function aggregator(table: Table): Table {
  if (typeof table.aggregator === "string") return { model: table.aggregator };
  return { ...(table.aggregator as Table | undefined) };
}

export function withAggregator(table: Table, settings: Table): Table {
  const { kind, ...rest } = withoutEmpty(settings);
  const value = kind && kind !== "synthesize" ? { kind, ...(kind === "vote" ? {} : rest) } : rest;
  return { ...table, aggregator: Object.keys(value).length === 1 && value.model ? value.model : value };
}

// The table with a setting; an empty value removes it.
export function withSetting(table: Table, name: string, value: unknown): Table {
  return withoutEmpty({ ...table, [name]: value });
}

function expandMember(member: unknown): Member {
  return typeof member === "string" ? { model: member } : { model: "", ...(member as Table) };
}

// The shortest form of a member: its name alone if it has no settings.
function shortenMember(member: Member): unknown {
  const { samples, ...rest } = withoutEmpty(member);
  const short = samples && samples !== 1 ? { ...rest, samples } : rest;
  return Object.keys(short).length === 1 ? member.model : short;
}

function withoutEmpty<T extends Table>(table: T): T {
  return Object.fromEntries(Object.entries(table).filter(([, value]) => value !== undefined && value !== "")) as T;
}
