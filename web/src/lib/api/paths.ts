// The paths of the server's API that the page uses; each route is written here and nowhere else.

type Query = Record<string, string>;

function withQuery(path: string, query: Query): string {
  return `${path}?${new URLSearchParams(query)}`;
}

export const paths = {
  models: "/v1/models",

  mixtures: "/api/mixtures",
  mixture: (name: string) => `/api/mixtures/${encodeURIComponent(name)}`,
  checkMixture: "/api/mixtures/check",

  estimate: "/api/estimate",
  stats: (query: Query) => withQuery("/api/stats", query),

  startRun: "/api/runs",
  runs: (query: Query) => withQuery("/api/runs", query),
  run: (id: string) => `/api/runs/${id}`,
  deleteRun: (id: string) => `/api/runs/${id}?forget=true`,
  finishRun: (id: string) => `/api/runs/${id}/finish`,
  runEvents: (id: string) => `/api/runs/${id}/events`,
  runExport: (id: string) => `/api/runs/${id}/export`,
  runMessages: (id: string) => `/api/runs/${id}/messages`,
  runProvenance: (id: string) => `/api/runs/${id}/provenance`,
  runCurl: (id: string, span?: string) => (span ? withQuery(`/api/runs/${id}/curl`, { span }) : `/api/runs/${id}/curl`),
  runDifference: (id: string, other: string) => `/api/runs/${id}/diff/${other}`,
  rerun: (id: string) => `/api/runs/${id}/rerun`,
  rerunPlan: (id: string) => `/api/runs/${id}/rerun/plan`,
};
