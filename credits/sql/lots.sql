-- What a transaction took from which grant, in the order of drawing.
CREATE OR REPLACE FUNCTION credits_lots(p_account_id uuid, p_transaction_id uuid)
RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        jsonb_agg(jsonb_build_object('grant', e.grant_id, 'source', g.source, 'amount', -e.amount)
                  ORDER BY {draw_order}),
        '[]')
    FROM credits_entry e JOIN credits_grant g ON g.id = e.grant_id
    WHERE e.transaction_id = p_transaction_id AND e.account_id = p_account_id
$$;
