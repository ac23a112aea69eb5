-- What a hold took from which grant, in the order of drawing.
CREATE OR REPLACE FUNCTION credits_hold_lots(p_hold_id uuid)
RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        jsonb_agg(jsonb_build_object('grant', l.grant_id, 'source', g.source, 'amount', l.amount) ORDER BY l.place),
        '[]')
    FROM credits_holdlot l JOIN credits_grant g ON g.id = l.grant_id
    WHERE l.hold_id = p_hold_id
$$;
