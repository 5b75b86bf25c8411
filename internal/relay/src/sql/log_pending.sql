-- Whether something of the log is not published yet, or a cursor stands within a window.
SELECT EXISTS (SELECT FROM outbox_lane l
                WHERE s2 IS NOT NULL
                   OR EXISTS (SELECT FROM outbox WHERE lane = l.lane AND xid >= pg_snapshot_xmax(l.s1))
                   OR EXISTS (SELECT FROM pg_snapshot_xip(l.s1) AS x(xid) JOIN outbox o
                                       ON o.lane = l.lane AND o.xid = x.xid))
